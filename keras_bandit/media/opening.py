"""Opening the sound of any file."""

from keras_bandit.common.checks import check_choice, check_integer
from keras_bandit.media.audio import AudioFileError, NotAudioError
from keras_bandit.media.film import FilmTrack
from keras_bandit.media.sound_file import SoundFile


def open_source(path, audio_track=None, damaged="error"):
    """Opens the sound of a file: through libsndfile, or else through FFmpeg.

    Args:
        path: path of a sound file or of a film.
        audio_track: int. Which sound track, from 1 on; `None` for the one that
            the file prefers.
        damaged: `"error"`, or `"silence"` to put silence where the file is
            damaged, and a line into the source's warnings.

    Returns:
        `Source`. Its `blocks(start, size)` gives the samples.

    Raises:
        AudioFileError: one line that names the file, if it is missing, no
            media file, damaged, encrypted, of zero length, without sound or
            without that track, or if it takes PyAV and that is not installed.
        ValueError: if an argument is not as described.

    Example:
        source = open_source("film.mkv", audio_track=2)
        for block in source.blocks():
            print(block.shape)  # (source.num_channels, 65536)
    """
    check_choice("damaged", damaged, ("error", "silence"))
    if audio_track is not None:
        audio_track = check_integer("audio_track", audio_track, 1)
    try:
        source = SoundFile.open(path, damaged)
    except NotAudioError:
        return FilmTrack.open(path, audio_track, damaged)
    if audio_track not in (None, 1):
        raise AudioFileError(
            f"{path}: no audio track {audio_track}; there is 1 ({source.codec})"
        )
    return source
