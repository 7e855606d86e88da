"""Separation of an audio file: one file in, a file for each stem out."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import pathlib
import shutil
import time
from typing import TYPE_CHECKING

import numpy as np

from keras_bandit.common.checks import check_choice
from keras_bandit.common.files import check_writable
from keras_bandit.common.loudness import LoudnessMeter, require_pyloudnorm
from keras_bandit.inference import resume as resuming
from keras_bandit.inference import separation
from keras_bandit.inference.dialogue import dialogue_spans, write_markers
from keras_bandit.inference.lfe import leave_out_lfe
from keras_bandit.inference.options import (
    COMPUTE_OPTIONS,
    REMUXES,
    STEM_OPTIONS,
    SeparationOptions,
)
from keras_bandit.inference.report import Report, model_name
from keras_bandit.inference.stem_choice import StemChoice, choose_stems
from keras_bandit.media import AudioFileError, Source, open_source, remuxing
from keras_bandit.media.audio import choose_subtype
from keras_bandit.media.layouts import film_names
from keras_bandit.media.riff import bytes_per_sample
from keras_bandit.media.sound_file import SoundFile
from keras_bandit.media.source import one_channel
from keras_bandit.media.writing import stem_writers

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from keras_bandit.common.types import AnyPath
    from keras_bandit.inference.core_separator import CoreSeparator
    from keras_bandit.models.separator import AudioSeparator


_FLOATS = ("FLOAT", "DOUBLE")
JOB_FOLDER = ".job"
"""Beside the stems, what `resume` keeps while a file is separated."""


@dataclasses.dataclass(frozen=True)
class SeparatedFile:
    """What `separate_file` did, or what `check_file` found.

    Args:
        source: path of the input.
        recording: `Source`, the input.
        subtype: str. Sample format of the stems' files.
        choice: `StemChoice`; `None` if checked without a separator.
        paths: dict of each written name's path.
        sound_paths: dict, those of the stems and of what is made of them.
        elapsed: float. Seconds that the separation took; `None` if checked.
        warnings: list of lines: damage that was passed over, gaps, stems that
            were clipped.
    """

    source: pathlib.Path
    recording: Source
    subtype: str
    choice: StemChoice | None = None
    paths: dict = dataclasses.field(default_factory=dict)
    sound_paths: dict = dataclasses.field(default_factory=dict)
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


def _file_name(template, stem, recording):
    """The name of a file without its suffix, as `separate_file` is told."""
    fields = {
        "title": pathlib.PurePath(recording.name).stem,
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


def _track_names(recording):
    """What a mono file of each channel is called: "L", or its number."""
    if recording.layout == "unknown":
        return [str(n + 1) for n in range(recording.num_channels)]
    return film_names(recording.speakers)


def _chosen_paths(output, options, choice, recording):
    """`{name: path}` of the files of sound."""
    paths = {}
    for name in choice.written:
        file = _file_name(options.name, name, recording)
        suffix = f".{options.file_format}"
        if not options.split_channels:
            paths[name] = output / f"{file}{suffix}"
            continue
        for channel in _track_names(recording):
            paths[f"{name}.{channel}"] = output / f"{file}.{channel}{suffix}"
    return paths


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
    stems = bytes_per_sample(file.subtype) * len(file.choice.written)
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


def _heard(blocks, meter):
    """The blocks, whose speech a `LoudnessMeter` hears."""
    for mixture, estimates in blocks:
        meter.push(estimates["speech"])
        yield mixture, estimates


def _write(blocks, file, options, overwrite, folder, report):
    """Writes the stems of a `SeparatedFile` as they come, all or none.

    `folder` is for the hidden files, `None`: that of the stems. `report` is a
    `Report` or `None`.

    Returns the lines about clipped stems.
    """
    paths, recording = file.sound_paths, file.recording
    channels = None
    if options.split_channels:
        channels = _track_names(recording)
        recording = one_channel(recording)
    with (
        _made_folder(next(iter(paths.values())).parent),
        stem_writers(
            paths,
            recording,
            options.file_format,
            file.subtype,
            overwrite,
            folder,
        ) as writers,
    ):
        for mixture, estimates in blocks:
            written = file.choice.derive(mixture, estimates)
            for name, samples in written.items():
                if channels is None:
                    writers[name].write(samples)
                    continue
                for channel, row in zip(channels, samples, strict=True):
                    writers[f"{name}.{channel}"].write(row[np.newaxis])
            if report:
                report.push(mixture, written)
    return [
        f"{paths[name]}: peaks at {writer.peak_dbfs:+.2f} dBFS, "
        f"{writer.clipped} samples clipped to full scale in {file.subtype}; "
        "FLOAT (wav) keeps them"
        for name, writer in writers.items()
        if writer.clipped
    ]


def check_file(
    source: AnyPath,
    output: AnyPath,
    separator: AudioSeparator | CoreSeparator | None = None,
    **options: Any,
) -> SeparatedFile:
    """Checks all that can be known before a file is read and separated.

    Arguments and errors are those of `separate_file`. With `separator=None`
    only what needs no model is checked.

    Returns:
        `SeparatedFile`.
    """
    options = SeparationOptions(**options)
    source, output = pathlib.Path(source), pathlib.Path(output)
    recording = open_source(source, **options.some("audio_track", "damaged"))
    recording.name = options.title or recording.name
    with _named(source, AudioFileError):
        file_format = options.file_format
        subtype = choose_subtype(file_format, options.subtype, recording)
    check_writable(output)
    if options.split_channels and options.remux:
        raise ValueError(
            "split_channels and remux exclude one another: a film's sound "
            f"tracks have all channels; got remux={options.remux!r}"
        )
    if separator is None:
        return SeparatedFile(source, recording, subtype)
    choice = choose_stems(separator.stems, **options.some(*STEM_OPTIONS))
    separation.chunk_and_hop(
        separator, options.chunk_seconds, options.hop_seconds
    )
    for_model = leave_out_lfe(recording, options.lfe, separator.stems)
    with _named(source, ValueError):
        separation.check_channels(
            for_model.num_channels, separator.num_channels
        )
    sound_paths = _chosen_paths(output, options, choice, recording)
    paths = dict(sound_paths)
    if options.remux is not None:
        with _named(source, ValueError):
            check_choice("remux", options.remux, REMUXES)
        film = _file_name(options.name, "film", recording)
        paths["film"] = output / f"{film}.{options.remux}"
        stem = dataclasses.replace(recording, subtype=subtype)
        remuxing.check_remux(source, stem, paths["film"], options.audio_track)
    if options.report or options.markers:
        require_pyloudnorm()
    if options.report:
        paths["report"] = output / "report.json"
        paths["page"] = output / "report.html"
    for form in options.markers:
        paths[f"markers_{form}"] = output / f"markers.{form}"
    # Killed between two renames, some stems of the job are there.
    resumed = options.resume and (output / JOB_FOLDER / resuming.JOB).exists()
    overwrite = options.overwrite or resumed
    _check_paths(source, paths.values(), overwrite, options.inputs)
    return SeparatedFile(source, recording, subtype, choice, paths, sound_paths)


def separate_file(
    source: AnyPath,
    output: AnyPath,
    separator: AudioSeparator | CoreSeparator,
    progress: bool | str | Callable = False,
    **options: Any,
) -> SeparatedFile:
    """Separates an audio file and writes a file for each stem, all or none.

    The stems have the rate, the channels, their layout and the number of
    samples of the source, and begin with a film's picture. They are written
    under hidden names and renamed when all are complete. If anything fails,
    Ctrl-C included, nothing is left behind.

    Args:
        source: path of a sound file or of a film; see `open_source`.
        output: path of the directory of the stems, made if it does not exist.
        separator: `AudioSeparator` or `CoreSeparator`.
        progress: see `separate`; True labels the bar with the file's name.
        **options: see `SeparationOptions`.

    Returns:
        `SeparatedFile`.

    Raises:
        AudioFileError: if the file cannot be read, has NaN or infinity, a
            rate or a number of channels that the model or `file_format` does
            not take, if a stem would replace an input, or if there is another
            job to resume. Names the file.
        ValueError: if an option is not as described.
        OSError: if `output` cannot be written. `FileExistsError` if a stem's
            file exists, or appears meanwhile, and `overwrite` is false.
        FloatingPointError: if the model returns NaN or infinity. Names the
            file.
    """
    file = check_file(source, output, separator, **options)
    options = SeparationOptions(**options)
    source, recording, choice = file.source, file.recording, file.choice
    # Decoders of lossy sound give no NaN.
    if isinstance(recording, SoundFile) and recording.subtype in _FLOATS:
        with _named(source, ValueError):
            separation.check_finite(recording)
    folder = pathlib.Path(output) / JOB_FOLDER
    _check_room(file, separator.sample_rate if options.resume else 0)
    began = time.monotonic()
    computed = {"stems": choice.computed, **options.some(*COMPUTE_OPTIONS)}
    job = measured = None
    if options.report:
        model = model_name(separator)
        measured = Report(recording, choice.written, choice.parts, model)
    speech = LoudnessMeter.of(recording) if options.markers else None
    with contextlib.ExitStack() as stack:
        if options.resume:
            settings = {
                "source": resuming.describe_file(source),
                "separator": resuming.describe_separator(separator),
                "options": {
                    **computed,
                    **options.some("audio_track", "damaged", "lfe"),
                },
            }
            with _named(source, ValueError):
                job = stack.enter_context(resuming.Job(folder, settings))
        with _named(source, FloatingPointError):
            for_model = leave_out_lfe(recording, options.lfe, separator.stems)
            blocks = separation.separate_blocks(
                separator,
                for_model,
                progress=source.name if progress is True else progress,
                job=job,
                **computed,
            )
            if for_model is not recording:
                blocks = for_model.put_back(blocks)
            if speech:
                blocks = _heard(blocks, speech)
            overwrite = options.overwrite or bool(job and job.resumed)
            hidden = folder if options.resume else None
            warnings = _write(
                blocks, file, options, overwrite, hidden, measured
            )
    if measured:
        measured.write(file.paths)
    for form in options.markers:
        path = file.paths[f"markers_{form}"]
        write_markers(path, dialogue_spans(speech), recording)
    if options.remux is not None:
        warnings += remuxing.remux(
            source,
            file.sound_paths,
            file.paths["film"],
            options.audio_track,
            default="mix" if "mix" in choice.mixes else None,
            damaged=options.damaged,
            overwrite=overwrite,
        )
    shutil.rmtree(folder, ignore_errors=True)
    return dataclasses.replace(
        file,
        elapsed=time.monotonic() - began,
        warnings=[*recording.warnings, *warnings],
    )
