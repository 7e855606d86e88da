"""Separation of an audio file: one file in, a file for each stem out."""

import contextlib
import dataclasses
import errno
import os
import pathlib
import time

from keras_bandit.common.files import check_writable, complete_files
from keras_bandit.inference import DEFAULT_BATCH_SIZE, separation
from keras_bandit.media import audio as audio_files
from keras_bandit.media.audio import AudioFileError


@dataclasses.dataclass(frozen=True)
class StemChoice:
    """What is computed of a recording, and what is written or scored."""

    computed: list  # stems that the model must give
    stems: list  # those that are written
    mne: tuple  # the two that make `mne`, or none
    residual: bool  # whether it is written

    @property
    def written(self):
        """Names of the files, without suffix."""
        derived = ["mne"] * bool(self.mne) + ["residual"] * self.residual
        return [*self.stems, *derived]


def choose_stems(
    available, stems=None, mne=False, residual=False, mixture_consistency=False
):
    """The `StemChoice` of a model with the stems `available`.

    Other arguments are those of `separate_file`. `ValueError` if the model
    lacks a stem, or has one of its own that is named `mne` or `residual`.
    """
    available = list(available)
    there = ", ".join(available)
    stems = list(dict.fromkeys(stems)) if stems else available
    unknown = [stem for stem in stems if stem not in available]
    if unknown:
        raise ValueError(
            f"stems: this model has no {', '.join(unknown)}; it has {there}"
        )
    effects = [stem for stem in ("effects", "sfx") if stem in available]
    if mne and not ("music" in available and effects):
        raise ValueError(
            "mne needs the stems music and effects (or sfx); this model has "
            f"{there}"
        )
    pair = ("music", effects[0]) if mne else ()
    computed = list(dict.fromkeys([*stems, *pair]))
    if mixture_consistency:
        separation.check_adds_up(available)
        computed = available
    choice = StemChoice(computed, stems, pair, residual)
    for name in choice.written:
        if choice.written.count(name) > 1:
            raise ValueError(f"{name}: this model has a stem of that name")
    return choice


@dataclasses.dataclass(frozen=True)
class SeparatedFile:
    """What `separate_file` did, or what `check_file` found.

    Args:
        source: path of the input.
        format: `AudioFormat` of the input.
        subtype: str. Sample format of the stems' files.
        choice: `StemChoice`; `None` if checked without a separator.
        paths: dict of each written name's path.
        elapsed: float. Seconds that the separation took; `None` if checked.
        warnings: list of lines: what an MP3 decoder passed over, stems that
            were clipped.
    """

    source: pathlib.Path
    format: audio_files.AudioFormat
    subtype: str
    choice: StemChoice | None = None
    paths: dict = dataclasses.field(default_factory=dict)
    elapsed: float | None = None
    warnings: list = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def _named(source, expected):
    """Puts the file's name before an error that is the file's fault."""
    try:
        yield
    except expected as error:
        numeric = isinstance(error, FloatingPointError)
        kind = FloatingPointError if numeric else AudioFileError
        raise kind(f"{source}: {error}") from error


def _check_paths(source, paths, overwrite, inputs):
    """Refuses to replace an input, and what exists unless told to."""
    inputs = {os.path.realpath(path) for path in (source, *inputs)}
    for path in paths:
        if os.path.realpath(path) in inputs:
            raise AudioFileError(
                f"{source}: its stem {path} would replace an input; choose "
                "another output"
            )
    existing = ", ".join(str(path) for path in paths if path.exists())
    if existing and not overwrite:
        raise FileExistsError(errno.EEXIST, "already there", existing)


def _derive(choice, estimates, mixture):
    """Returns the stems to write, with `mne` and `residual` as chosen."""
    written = {stem: estimates[stem] for stem in choice.stems}
    if choice.mne:
        music, effects = choice.mne
        written["mne"] = estimates[music] + estimates[effects]
    if choice.residual:
        written["residual"] = mixture.copy()
        for stem in choice.stems:
            written["residual"] -= estimates[stem]
    return written


@contextlib.contextmanager
def _made_folder(folder):
    """Makes a folder, and takes it away again if the block fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # not there, or others' files are
            for path in missing:
                path.rmdir()
        raise


def _write(written, file, file_format, overwrite):
    """Writes the stems of a `SeparatedFile`, all or none."""
    paths = list(file.paths.values())
    with (
        _made_folder(paths[0].parent),
        complete_files(paths, overwrite) as temporary,
    ):
        for name, samples in written.items():
            audio_files.write_audio(
                temporary[file.paths[name]],
                samples,
                file.format.sample_rate,
                file_format,
                file.subtype,
            )


def _warnings(written, file):
    if file.format.damage:
        yield f"{file.source}: damaged, and read on: {file.format.damage}"
    for name, samples in written.items():
        count, peak = audio_files.clipping(samples, file.subtype)
        if count:
            yield (
                f"{file.paths[name]}: peaks at {peak:+.2f} dBFS, {count} "
                f"samples clipped to full scale in {file.subtype}; FLOAT (wav) "
                "keeps them"
            )


def check_file(
    source,
    output,
    separator=None,
    stems=None,
    mne=False,
    residual=False,
    mixture_consistency=False,
    chunk_seconds=None,
    hop_seconds=None,
    file_format="wav",
    subtype=None,
    overwrite=False,
    inputs=(),
):
    """Checks all that can be known before a file is read and separated.

    Arguments and errors are those of `separate_file`. With `separator=None`
    only what needs no model is checked.

    Returns:
        `SeparatedFile`.
    """
    source, output = pathlib.Path(source), pathlib.Path(output)
    audio_format = audio_files.probe(source)
    with _named(source, AudioFileError):
        subtype = audio_files.choose_subtype(file_format, subtype, audio_format)
    check_writable(output)
    if separator is None:
        return SeparatedFile(source, audio_format, subtype)
    choice = choose_stems(
        separator.stems, stems, mne, residual, mixture_consistency
    )
    separation.chunk_and_hop(separator, chunk_seconds, hop_seconds)
    with _named(source, ValueError):
        separation.check_channels(
            audio_format.num_channels, separator.num_channels
        )
    paths = {name: output / f"{name}.{file_format}" for name in choice.written}
    _check_paths(source, paths.values(), overwrite, inputs)
    return SeparatedFile(source, audio_format, subtype, choice, paths)


def separate_file(
    source,
    output,
    separator,
    stems=None,
    mne=False,
    residual=False,
    mixture_consistency=False,
    chunk_seconds=None,
    hop_seconds=None,
    batch_size=DEFAULT_BATCH_SIZE,
    file_format="wav",
    subtype=None,
    overwrite=False,
    inputs=(),
    progress=False,
    shifts=0,
    seed=0,
):
    """Separates an audio file and writes a file for each stem, all or none.

    The stems have the rate, the channels and the number of samples of the
    source. They are written under hidden names and renamed when all are
    complete. If anything fails, Ctrl-C included, nothing is left behind.

    Args:
        source: path of a file that libsndfile reads.
        output: path of the directory of the stems, made if it does not exist.
        separator: `AudioSeparator` or `CoreSeparator`.
        stems: list of str. Stems to write; `None` for all. Others are
            computed only for `mne` and `mixture_consistency`. For many files,
            pass a separator of the stems that `check_file` returns as
            `choice.computed` (`with_stems`): each call that has to leave out
            stems compiles a model.
        mne: bool. Whether to write `mne` too: music plus effects (or sfx).
        residual: bool. Whether to write `residual` too: the mixture minus
            `stems`.
        mixture_consistency, chunk_seconds, hop_seconds, batch_size: see
            `separate`.
        file_format: `"wav"` or `"flac"`.
        subtype: see `choose_subtype`.
        overwrite: bool. Whether to replace files that exist.
        inputs: list of paths that are never replaced, beside `source`.
        progress: see `separate`; True labels the bar with the file's name.
        shifts, seed: see `separate`.

    Returns:
        `SeparatedFile`.

    Raises:
        AudioFileError: if the file cannot be read, has NaN or infinity, a
            rate or a number of channels that the model or `file_format` does
            not take, or if a stem would replace an input. Names the file.
        ValueError: if an argument is not as described.
        OSError: if `output` cannot be written. `FileExistsError` if a stem's
            file exists, or appears meanwhile, and `overwrite` is false.
        FloatingPointError: if the model returns NaN or infinity. Names the
            file.
    """
    file = check_file(
        source,
        output,
        separator,
        stems,
        mne,
        residual,
        mixture_consistency,
        chunk_seconds,
        hop_seconds,
        file_format,
        subtype,
        overwrite,
        inputs,
    )
    source, choice = file.source, file.choice
    mixture, audio_format = audio_files.read_audio(source)
    sample_rate = audio_format.sample_rate
    with _named(source, ValueError):
        mixture = separation.check_audio(mixture, sample_rate)
    began = time.monotonic()
    with _named(source, FloatingPointError):
        estimates = separation.separate(
            separator,
            mixture,
            sample_rate,
            chunk_seconds,
            hop_seconds,
            batch_size,
            choice.computed,
            source.name if progress is True else progress,
            mixture_consistency=mixture_consistency,
            shifts=shifts,
            seed=seed,
        )
    elapsed = time.monotonic() - began
    file = dataclasses.replace(file, format=audio_format, elapsed=elapsed)
    written = _derive(choice, estimates, mixture)
    _write(written, file, file_format, overwrite)
    return dataclasses.replace(file, warnings=list(_warnings(written, file)))
