"""`keras-bandit separate`: files in, one file per stem out."""

import contextlib
import dataclasses
import pathlib
import sys
import time

from keras_bandit.cli.backend import choose_backend
from keras_bandit.cli.console import CommandError, explain, report, say
from keras_bandit.cli.folders import check_writable
from keras_bandit.cli.model import load_on_engine, resolve_engine
from keras_bandit.cli.stems import choose_stems
from keras_bandit.common.files import complete_files


@dataclasses.dataclass(frozen=True)
class _Job:
    """One file to separate.

    Args:
        source: path of the input.
        folder: path of the directory of its stems.
        subtype: str. Sample format of the stems.
        format: its `AudioFormat`.
    """

    source: pathlib.Path
    folder: pathlib.Path
    subtype: str
    format: object


def _attempt(items, function):
    """Applies a function to each; reports the failed, returns the others'."""
    from keras_bandit.inference.audio import AudioFileError

    results = []
    for item in items:
        try:
            results.append(function(item))
        except (CommandError, AudioFileError) as error:
            report(f"error: {error}")
    return results


def _check_names(sources):
    """Refuses inputs whose stems would land in one directory."""
    seen = {}
    for source in sources:
        if source.stem in (".", ".."):  # "...wav"
            raise CommandError(
                f"{source}: names no folder for its stems; rename it"
            )
        if source.stem in seen:
            raise CommandError(
                f"{seen[source.stem]} and {source} would both be written to "
                f"{source.stem}/; separate them with two --output"
            )
        seen[source.stem] = source


def _check_input(source, args):
    """Checks one input and returns its `_Job`."""
    from keras_bandit.inference import audio

    source_format = audio.probe(source)
    try:
        subtype = audio.choose_subtype(args.format, args.subtype, source_format)
    except audio.AudioFileError as error:
        raise CommandError(f"{source}: {error}") from error
    folder = pathlib.Path(args.output, source.stem)
    check_writable(folder)
    return _Job(source, folder, subtype, source_format)


def _check_chunks(args, separator):
    from keras_bandit.inference.separation import chunk_and_hop

    try:
        chunk_and_hop(separator, args.chunk_seconds, args.hop_seconds)
    except ValueError as error:
        raise CommandError(str(error)) from error


def _paths(job, chosen, args):
    """Returns a dict of each written name's path."""
    return {
        name: job.folder / f"{name}.{args.format}" for name in chosen.written
    }


def _check_job(job, chosen, separator, args):
    """Checks one file against the model and what exists; returns it."""
    from keras_bandit.inference.separation import check_channels

    try:
        check_channels(job.format.num_channels, separator.num_channels)
    except ValueError as error:
        raise CommandError(f"{job.source}: {error}") from error
    paths = _paths(job, chosen, args).values()
    inputs = {pathlib.Path(file).resolve() for file in args.files}
    for path in paths:
        if path.resolve() in inputs:
            raise CommandError(
                f"{job.source}: its stem {path} would replace an input; "
                "choose another --output"
            )
    existing = [str(path) for path in paths if path.exists()]
    if existing and not args.overwrite:
        raise CommandError(
            f"{', '.join(existing)}: already there; --overwrite replaces"
        )
    return job


def _derive(stems, mixture, chosen):
    """Returns the stems to write, with `mne` and `residual` as chosen."""
    written = {stem: stems[stem] for stem in chosen.stems}
    if chosen.mne:
        music, effects = chosen.mne
        written["mne"] = stems[music] + stems[effects]
    if chosen.residual:
        residual = mixture.copy()
        for stem in chosen.stems:
            residual -= stems[stem]
        written["residual"] = residual
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


def _warn_clipped(path, samples, subtype):
    from keras_bandit.inference.audio import count_clipped, decibels

    clipped = count_clipped(samples, subtype)
    if clipped:
        peak = max(samples.max(), -samples.min())
        report(
            f"warning: {path}: peaks at {decibels(peak):+.2f} dBFS, {clipped} "
            f"samples clipped to full scale in {subtype}; --subtype FLOAT "
            "(wav) keeps them"
        )


def _write_stems(job, chosen, stems, args):
    """Writes the stems of one file, all or none."""
    from keras_bandit.inference import audio

    paths = _paths(job, chosen, args)
    try:
        with (
            _made_folder(job.folder),
            complete_files(list(paths.values()), args.overwrite) as temporary,
        ):
            for stem, samples in stems.items():
                audio.write_audio(
                    temporary[paths[stem]],
                    samples,
                    job.format.sample_rate,
                    args.format,
                    job.subtype,
                )
    except OSError as error:
        raise CommandError(explain(error)) from error
    for stem, samples in stems.items():
        _warn_clipped(paths[stem], samples, job.subtype)


def _summary(job, chosen, elapsed):
    audio_format = job.format
    seconds = audio_format.num_samples / audio_format.sample_rate
    return (
        f"{job.source}: {seconds:.2f} s, {audio_format.num_channels} "
        f"channel(s), {audio_format.sample_rate} Hz -> {job.folder}/: "
        f"{', '.join(chosen.written)} ({job.subtype}), separated in "
        f"{elapsed:.1f} s, {elapsed / seconds:.2f} x real time"
    )


def _separate_file(job, chosen, separator, args):
    """Separates one file, writes its stems, and returns its `_Job`."""
    from keras_bandit.inference import audio
    from keras_bandit.inference.separation import check_audio, separate

    mixture, audio_format = audio.read_audio(job.source)
    sample_rate = audio_format.sample_rate
    try:
        check_audio(mixture, sample_rate)
    except ValueError as error:
        raise CommandError(f"{job.source}: {error}") from error
    show_progress = not args.quiet and sys.stderr.isatty()

    began = time.monotonic()
    try:
        stems = separate(
            separator,
            mixture,
            sample_rate,
            chunk_seconds=args.chunk_seconds,
            hop_seconds=args.hop_seconds,
            batch_size=args.batch_size,
            mixture_consistency=args.mixture_consistency,
            progress=job.source.name if show_progress else False,
        )
    except FloatingPointError as error:
        raise CommandError(f"{job.source}: {error}") from error
    elapsed = time.monotonic() - began
    _write_stems(job, chosen, _derive(stems, mixture, chosen), args)
    if not args.quiet:
        say(_summary(job, chosen, elapsed))
    return job


def separate_command(args):
    """Runs `keras-bandit separate`; returns the exit status."""
    if args.hop_seconds and args.hop_seconds > args.chunk_seconds:
        raise CommandError(
            "--hop-seconds must be at most --chunk-seconds; got "
            f"{args.hop_seconds} and {args.chunk_seconds}"
        )
    sources = [pathlib.Path(file) for file in args.files]
    _check_names(sources)
    engine = resolve_engine(args)
    if args.engine_cache and engine == "openvino":
        check_writable(pathlib.Path(args.engine_cache))
    choose_backend(args.backend)

    # All that can be known beforehand is checked before the model is loaded
    # and all files before the first is computed.
    jobs = _attempt(sources, lambda source: _check_input(source, args))
    if jobs:
        separator = load_on_engine(args, engine)
        chosen = choose_stems(args, separator.stems)
        _check_chunks(args, separator)
        jobs = _attempt(
            jobs, lambda job: _check_job(job, chosen, separator, args)
        )
    if jobs:
        if chosen.computed != list(separator.stems):
            separator = separator.with_stems(chosen.computed)
        jobs = _attempt(
            jobs, lambda job: _separate_file(job, chosen, separator, args)
        )
    if not jobs:
        return 2
    return 0 if len(jobs) == len(sources) else 1
