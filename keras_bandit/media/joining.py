"""Tracks of a film that are the channels of one recording, as a source."""

import dataclasses
import itertools
import pathlib

import numpy as np

from keras_bandit.media.audio import AudioFileError
from keras_bandit.media.film_track import FilmTrack
from keras_bandit.media.layouts import LAYOUTS, SPEAKERS, layout_of, mask_of
from keras_bandit.media.source import Source

_SIZE = 2**14  # samples that are held of each track

_MEANT = {6: LAYOUTS["5.1"], 8: LAYOUTS["7.1"]}
"""The speakers of so many channels, where no track tells its own."""


@dataclasses.dataclass
class JoinedTracks(Source):
    """Tracks of one rate, side by side: broadcasters' mono tracks.

    Each track is read by itself, in step with the others, so that the system
    still holds what the first of them fetched from the disk. Sample 0 is where
    the picture begins, or the first track where there is none; shorter tracks
    end in silence.
    """

    _parts: tuple = dataclasses.field(default=(), repr=False)

    @classmethod
    def open(cls, path, tracks, damaged="error"):
        """Opens tracks, a list of numbers from 1 on, as channels in this order.

        Errors are those of `open_source`.
        """
        path = pathlib.Path(path)
        parts = [FilmTrack.open(path, track, damaged) for track in tracks]
        joined = f"{path}: audio tracks {', '.join(map(str, tracks))}"
        rates = list(dict.fromkeys(part.sample_rate for part in parts))
        if len(rates) > 1:
            raise AudioFileError(
                f"{joined} differ in rate, {', '.join(map(str, rates))} Hz; "
                "one recording has one"
            )
        origin = min(part.origin for part in parts)
        ends = [
            float(part.origin - origin) + part.duration_seconds
            for part in parts
            if part.duration_seconds is not None
        ]
        for part in parts:
            part.begin_at(origin)
        num_channels = sum(part.num_channels for part in parts)
        layout, mask = layout_of(num_channels, _mask(joined, tracks, parts))
        subtypes = {part.subtype for part in parts}
        languages = {part.language for part in parts}
        source = cls(
            path,
            rates[0],
            num_channels,
            layout,
            mask,
            subtype=subtypes.pop() if len(subtypes) == 1 else "FLOAT",
            codec="+".join(dict.fromkeys(part.codec for part in parts)),
            duration_seconds=max(ends, default=None),
            start_offset=min(part.start_offset for part in parts),
            track=tracks,
            num_tracks=parts[0].num_tracks,
            language=languages.pop() if len(languages) == 1 else "",
            timecode=parts[0].timecode,
            frame_rate=parts[0].frame_rate,
            damaged=damaged,
            _parts=tuple(parts),
        )
        for part in parts:
            part.warnings = source.warnings
        return source

    def _pieces(self, start):
        blocks = [part.blocks(start, _SIZE) for part in self._parts]
        for found in itertools.zip_longest(*blocks):
            size = max(block.shape[1] for block in found if block is not None)
            whole, channel = np.zeros((self.num_channels, size), "float32"), 0
            for part, block in zip(self._parts, found, strict=True):
                if block is not None:
                    end = channel + part.num_channels
                    whole[channel:end, : block.shape[1]] = block
                channel += part.num_channels
            yield whole
        self.num_samples = max(part.num_samples for part in self._parts)


def _mask(joined, tracks, parts):
    """The speakers of tracks side by side: as they tell, or as is usual."""
    speakers = [speaker for part in parts for speaker in part.speakers]
    count = sum(part.num_channels for part in parts)
    if len(set(speakers)) < count:  # mono tracks that are all "front centre"
        return _MEANT.get(count)
    if (mask := mask_of(speakers)) is None:
        first = [SPEAKERS.index(part.speakers[0]) for part in parts]
        order = [track for _, track in sorted(zip(first, tracks, strict=True))]
        raise AudioFileError(
            f"{joined} are {', '.join(speakers)}; in the order of a layout "
            f"they are {','.join(map(str, order))}"
        )
    return mask
