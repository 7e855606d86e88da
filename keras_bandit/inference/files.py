"""Separation of an audio file: one file in, a file for each stem out."""

import contextlib
import dataclasses
import errno
import os
import pathlib
import shutil
import time

import numpy as np

from keras_bandit.common.checks import check_choice
from keras_bandit.common.files import check_writable, write_json
from keras_bandit.common.loudness import require_pyloudnorm
from keras_bandit.inference import DEFAULT_BATCH_SIZE, separation
from keras_bandit.inference import resume as resuming
from keras_bandit.inference.lfe import effects_of, leave_out_lfe
from keras_bandit.inference.report import Report
from keras_bandit.media import AudioFileError, Source, open_source, remuxing
from keras_bandit.media.audio import choose_subtype
from keras_bandit.media.film import open_container
from keras_bandit.media.riff import bytes_per_sample
from keras_bandit.media.sound_file import SoundFile
from keras_bandit.media.writing import stem_writers

_FLOATS = ("FLOAT", "DOUBLE")
JOB_FOLDER = ".job"
"""Beside the stems, what `resume` keeps while a file is separated."""


@dataclasses.dataclass(frozen=True)
class StemChoice:
    """What is computed of a recording, and what is written or scored."""

    computed: list  # stems that the model must give
    stems: list  # those that are written
    mne: tuple  # the two that make `mne`, or none
    residual: bool  # whether it is written
    mix: dict  # what is added to the mixture, {stem: factor}; empty: no mix

    @property
    def written(self):
        """Names of the files, without suffix."""
        derived = ["mne"] * bool(self.mne) + ["residual"] * self.residual
        return [*self.stems, *derived, *["mix"] * bool(self.mix)]


def _choose_mix(available, without, gains_db):
    """`StemChoice.mix`: the film with stems taken out or at other levels."""
    factors = dict.fromkeys(without, -1.0)
    for stem, gain_db in (gains_db or {}).items():
        if stem in factors or not -100 <= gain_db <= 100:
            raise ValueError(
                f"gains_db must be -100 to 100 dB, of stems that are not left "
                f"out; got {gain_db} for {stem}"
            )
        factors[stem] = 10 ** (gain_db / 20) - 1
    unknown = [stem for stem in factors if stem not in available]
    if unknown:
        raise ValueError(
            f"the mix: this model has no {', '.join(unknown)}; it has "
            f"{', '.join(available)}"
        )
    return factors


def choose_stems(
    available,
    stems=None,
    mne=False,
    residual=False,
    mixture_consistency=False,
    without=(),
    gains_db=None,
):
    """The `StemChoice` of a model with the stems `available`.

    Other arguments are those of `separate_file`. `ValueError` if the model
    lacks a stem, or has one of its own that is named `mne`, `residual` or
    `mix`.
    """
    available = list(available)
    there = ", ".join(available)
    stems = list(dict.fromkeys(stems)) if stems else available
    unknown = [stem for stem in stems if stem not in available]
    if unknown:
        raise ValueError(
            f"stems: this model has no {', '.join(unknown)}; it has {there}"
        )
    effects = effects_of(available)
    if mne and not ("music" in available and effects):
        raise ValueError(
            "mne needs the stems music and effects (or sfx); this model has "
            f"{there}"
        )
    pair = ("music", effects) if mne else ()
    mix = _choose_mix(available, without, gains_db)
    computed = list(dict.fromkeys([*stems, *pair, *mix]))
    if mixture_consistency:
        separation.check_adds_up(available)
        computed = available
    choice = StemChoice(computed, stems, pair, residual, mix)
    for name in choice.written:
        if choice.written.count(name) > 1:
            raise ValueError(f"{name}: this model has a stem of that name")
    return choice


@dataclasses.dataclass(frozen=True)
class SeparatedFile:
    """What `separate_file` did, or what `check_file` found.

    Args:
        source: path of the input.
        recording: `Source`, the input.
        subtype: str. Sample format of the stems' files.
        choice: `StemChoice`; `None` if checked without a separator.
        paths: dict of each written name's path.
        elapsed: float. Seconds that the separation took; `None` if checked.
        warnings: list of lines: damage that was passed over, gaps, stems that
            were clipped.
    """

    source: pathlib.Path
    recording: Source
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
    if choice.mix:
        written["mix"] = mixture.copy()
        for stem, factor in choice.mix.items():
            written["mix"] += np.float32(factor) * estimates[stem]
    return written


def _file_name(template, stem, recording):
    """The name of a file without its suffix, as `separate_file` is told."""
    fields = {
        "title": recording.path.stem,
        "layout": recording.layout,
        "rate": recording.sample_rate,
    }
    try:
        found = template.format(stem=stem, **fields)
        alike = template.format(stem="", **fields) == found
    except (AttributeError, IndexError, KeyError, ValueError):
        found, alike = "", True
    if alike or found.startswith(".") or {"/", "\\", "\0"} & set(found):
        raise ValueError(
            "name must hold {stem}, perhaps {title}, {layout} and {rate}, and "
            f"no folder; got {template!r}"
        )
    return found


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


def _check_room(file, kept_rate):
    """`OSError` if the disk has not the room that wav files will take.

    And what is kept to resume, float32 at `kept_rate` Hz; 0: nothing.
    """
    recording = file.recording
    seconds = recording.duration_seconds or 0
    values = seconds * recording.num_channels  # of each Hz
    stems = bytes_per_sample(file.subtype) * len(file.paths)
    kept = 4 * len(file.choice.computed)
    needed = values * (recording.sample_rate * stems + kept_rate * kept)
    path = next(iter(file.paths.values()))
    folder = next(p for p in path.absolute().parents if p.exists())
    free = shutil.disk_usage(folder).free
    if path.suffix == ".wav" and needed > free:
        raise OSError(
            errno.ENOSPC,
            f"{needed:,.0f} bytes are needed for the stems, {free:,} are free",
            str(path.parent),
        )


def _write(blocks, file, file_format, overwrite, folder, report):
    """Writes the stems of a `SeparatedFile` as they come, all or none.

    `folder` is for the hidden files, `None`: that of the stems. `report` is a
    `Report` or `None`.

    Returns the lines about clipped stems.
    """
    with (
        _made_folder(next(iter(file.paths.values())).parent),
        stem_writers(
            {name: file.paths[name] for name in file.choice.written},
            file.recording,
            file_format,
            file.subtype,
            overwrite,
            folder,
        ) as writers,
    ):
        for mixture, estimates in blocks:
            derived = _derive(file.choice, estimates, mixture)
            for name, samples in derived.items():
                writers[name].write(samples)
            if report:
                report.push(mixture, derived)
    return [
        f"{file.paths[name]}: peaks at {writer.peak_dbfs:+.2f} dBFS, "
        f"{writer.clipped} samples clipped to full scale in {file.subtype}; "
        "FLOAT (wav) keeps them"
        for name, writer in writers.items()
        if writer.clipped
    ]


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
    resume=False,
    audio_track=None,
    damaged="error",
    without=(),
    gains_db=None,
    lfe="effects",
    remux=None,
    report=False,
    name="{stem}",
):
    """Checks all that can be known before a file is read and separated.

    Arguments and errors are those of `separate_file`. With `separator=None`
    only what needs no model is checked.

    Returns:
        `SeparatedFile`.
    """
    source, output = pathlib.Path(source), pathlib.Path(output)
    recording = open_source(source, audio_track, damaged)
    with _named(source, AudioFileError):
        subtype = choose_subtype(file_format, subtype, recording)
    check_writable(output)
    if separator is None:
        return SeparatedFile(source, recording, subtype)
    choice = choose_stems(
        separator.stems,
        stems,
        mne,
        residual,
        mixture_consistency,
        without,
        gains_db,
    )
    separation.chunk_and_hop(separator, chunk_seconds, hop_seconds)
    for_model = leave_out_lfe(recording, lfe, separator.stems)
    with _named(source, ValueError):
        separation.check_channels(
            for_model.num_channels, separator.num_channels
        )
    paths = {
        stem: output / f"{_file_name(name, stem, recording)}.{file_format}"
        for stem in choice.written
    }
    if remux is not None:
        with _named(source, ValueError):
            check_choice("remux", remux, ("mkv", "mov", "mp4"))
        with open_container(source):
            pass  # FFmpeg reads it, too
        film = _file_name(name, "film", recording)
        paths["film"] = output / f"{film}.{remux}"
    if report:
        require_pyloudnorm()
        paths["report"] = output / "report.json"
    # Killed between two renames, some stems of the job are there.
    resumed = resume and (output / JOB_FOLDER / resuming.JOB).exists()
    _check_paths(source, paths.values(), overwrite or resumed, inputs)
    return SeparatedFile(source, recording, subtype, choice, paths)


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
    resume=False,
    audio_track=None,
    damaged="error",
    without=(),
    gains_db=None,
    lfe="effects",
    remux=None,
    report=False,
    name="{stem}",
):
    """Separates an audio file and writes a file for each stem, all or none.

    The stems have the rate, the channels, their layout and the number of
    samples of the source, and begin with a film's picture. They are written under hidden names and renamed when all are
    complete. If anything fails, Ctrl-C included, nothing is left behind.

    Args:
        source: path of a sound file or of a film; see `open_source`.
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
        resume: bool. Whether to go on where a former call of the same
            arguments was killed, and to keep what is finished for the next
            one, in the hidden folder `.job` of `output`. It takes as much room
            as the stems in FLOAT. The files are the same to the bit.
        audio_track, damaged: see `open_source`.
        without: list of str. Writes `mix`, the recording without these stems.
        gains_db: `{stem: dB}`. Writes `mix`, the recording with these stems so
            much louder.
        lfe: what becomes of the channel of low effects: see
            `keras_bandit.inference.lfe.LFE`.
        remux: `"mkv"`, `"mov"`, `"mp4"` or `None`. Also writes `film`, the film
            with all that is written as further sound tracks (`remux` of
            `keras_bandit.media.remuxing`); players choose the mix, if there is
            one.
        report: bool. Also writes `report.json`: loudness, peaks and whether
            the stems add up; see `keras_bandit.inference.report.Report`.
        name: str. Template of the files' names: `{stem}`, `{title}` (name of
            the source), `{layout}` and `{rate}` are filled in.

    Returns:
        `SeparatedFile`.

    Raises:
        AudioFileError: if the file cannot be read, has NaN or infinity, a
            rate or a number of channels that the model or `file_format` does
            not take, if a stem would replace an input, or if there is another
            job to resume. Names the file.
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
        resume,
        audio_track,
        damaged,
        without,
        gains_db,
        lfe,
        remux,
        report,
        name,
    )
    source, recording = file.source, file.recording
    # Decoders of lossy sound give no NaN.
    if isinstance(recording, SoundFile) and recording.subtype in _FLOATS:
        with _named(source, ValueError):
            separation.check_finite(recording)
    folder = pathlib.Path(output) / JOB_FOLDER
    _check_room(file, separator.sample_rate if resume else 0)
    began = time.monotonic()
    options = {
        "chunk_seconds": chunk_seconds,
        "hop_seconds": hop_seconds,
        "batch_size": batch_size,
        "stems": file.choice.computed,
        "mixture_consistency": mixture_consistency,
        "shifts": shifts,
        "seed": seed,
    }
    job = measured = None
    if report:
        measured = Report(recording, file.choice.written, file.choice.stems)
    with contextlib.ExitStack() as stack:
        if resume:
            settings = {
                "source": resuming.describe_file(source),
                "separator": resuming.describe_separator(separator),
                "options": {
                    **options,
                    "audio_track": audio_track,
                    "damaged": damaged,
                },
            }
            with _named(source, ValueError):
                job = stack.enter_context(resuming.Job(folder, settings))
        with _named(source, FloatingPointError):
            for_model = leave_out_lfe(recording, lfe, separator.stems)
            blocks = separation.separate_blocks(
                separator,
                for_model,
                progress=source.name if progress is True else progress,
                job=job,
                **options,
            )
            if for_model is not recording:
                blocks = for_model.put_back(blocks)
            overwrite |= bool(job and job.resumed)
            hidden = folder if resume else None
            warnings = _write(
                blocks, file, file_format, overwrite, hidden, measured
            )
    if measured:
        write_json(file.paths["report"], measured.result())
    if remux is not None:
        warnings += remuxing.remux(
            source,
            {name: file.paths[name] for name in file.choice.written},
            file.paths["film"],
            audio_track,
            default="mix" if file.choice.mix else None,
            damaged=damaged,
            overwrite=overwrite,
        )
    shutil.rmtree(folder, ignore_errors=True)
    return dataclasses.replace(
        file,
        elapsed=time.monotonic() - began,
        warnings=[*recording.warnings, *warnings],
    )
