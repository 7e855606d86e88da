"""The `keras-bandit` command: separate, evaluate, prepare, presets, convert.

Imports NumPy, soundfile and Keras inside the commands, so that `--help` and
mistakes in the arguments answer at once, and `--backend` is in time.
"""

import argparse
import atexit
import contextlib
import dataclasses
import importlib
import importlib.util
import math
import os
import pathlib
import shutil
import sys
import tempfile
import time

from keras_bandit.hidden_modules import hidden_module
from keras_bandit.inference import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_CHUNK_SECONDS,
    DEFAULT_HOPS_PER_CHUNK,
)
from keras_bandit.inference.engines import ENGINES, PRECISIONS, choose_engine
from keras_bandit.one_line import one_line

_EXIT_STATUS = """\
exit status:
  0    everything was done
  1    some of several files failed; the others are done
  2    nothing was done: bad arguments, preset or input
  130  interrupted with Ctrl-C
"""


class CommandError(Exception):
    """A mistake of the user's; the message is one line that says which."""


class NotOnOpenVINOError(Exception):
    """OpenVINO cannot compute; the message is one line that says why.

    Args:
        reason: str.
        separator: the Keras model, or `None` if it was not loaded for that.
    """

    def __init__(self, reason, separator=None):
        super().__init__(reason)
        self.separator = separator


# --------------------------------------------------------------------------
# Arguments
# --------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Reports a bad argument in one line, without the usage."""

    def error(self, message):
        raise CommandError(f"{message} (see {self.prog} --help)")


def _seconds(text):
    """Parses a positive, finite number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"must be a positive number of seconds; got {text!r}"
        )
    return value


def _count(text):
    """Parses a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be a positive integer; got {text!r}"
        )
    return int(text)


def _counts(text):
    """Parses three counts separated by commas, of which some may be 0."""
    counts = text.split(",")
    if len(counts) != 3 or not all(count.isdecimal() for count in counts):
        raise argparse.ArgumentTypeError(
            f"must be three numbers of tracks, such as 70,10,20; got {text!r}"
        )
    return dict(
        zip(("train", "validation", "test"), map(int, counts), strict=True)
    )


def _folder(text):
    """Parses a directory's path: an empty one would be the current one."""
    if not text:
        raise argparse.ArgumentTypeError("must be a directory's path; got ''")
    return text


def _names(text):
    """Parses names separated by commas; a repeated one counts once."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(
            f"must be names separated by commas; got {text!r}"
        )
    return list(dict.fromkeys(names))


def _add_separate(commands):
    parser = commands.add_parser(
        "separate",
        help="separate audio files into stems",
        description="Separates audio files into stems. Writes "
        "OUTPUT/<file name>/<stem>.<format> at the rate, channels and length "
        "of the input.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=separate_command)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument(
        "--preset",
        required=True,
        metavar="NAME_OR_DIR",
        help="preset directory (see convert), name (see presets), or hf://...",
    )
    parser.add_argument(
        "--output",
        type=_folder,
        default="separated",
        metavar="DIR",
        help="directory of the results (%(default)s)",
    )
    parser.add_argument(
        "--stems",
        type=_names,
        metavar="A,B",
        help="stems to compute, such as speech,music (all)",
    )
    parser.add_argument(
        "--residual",
        action="store_true",
        help="also write residual: the mixture minus the stems that are "
        "computed (with --stems, minus those)",
    )
    parser.add_argument(
        "--mne",
        action="store_true",
        help="also write mne: music plus effects",
    )
    _add_mixture_consistency(parser)
    parser.add_argument(
        "--chunk-seconds",
        type=_seconds,
        default=DEFAULT_CHUNK_SECONDS,
        metavar="S",
        help="length of the chunks that the model sees (%(default)s)",
    )
    parser.add_argument(
        "--hop-seconds",
        type=_seconds,
        metavar="S",
        help="from chunk to chunk; smaller is smoother and slower (chunk / "
        f"{DEFAULT_HOPS_PER_CHUNK}, "
        f"{DEFAULT_CHUNK_SECONDS / DEFAULT_HOPS_PER_CHUNK}; the authors "
        "take 0.5)",
    )
    parser.add_argument(
        "--batch-size",
        type=_count,
        default=DEFAULT_BATCH_SIZE,
        metavar="N",
        help="chunks at a time; raise it on a GPU (%(default)s)",
    )
    _add_engine(parser)
    parser.add_argument(
        "--engine-cache",
        type=_folder,
        metavar="DIR",
        help="keep OpenVINO's compiled models here, for a quicker start "
        "(nowhere)",
    )
    parser.add_argument(
        "--format",
        choices=["wav", "flac"],
        default="wav",
        help="file format (%(default)s)",
    )
    parser.add_argument(
        "--subtype",
        choices=["PCM_16", "PCM_24", "FLOAT"],
        help="sample format (the input's if it is PCM_16 or PCM_24, else "
        "FLOAT for wav and PCM_24 for flac)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace existing files"
    )
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="only errors and warnings, no progress or summary",
    )
    _add_backend(parser)


def _add_convert(commands):
    parser = commands.add_parser(
        "convert",
        help="convert a released checkpoint to a preset directory",
        description="Converts a released checkpoint (BandIt v1 and v2, MSST, "
        "BSRNN) to a preset directory. What the model is, is found from the "
        "checkpoint's tensors.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=convert_command)
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument("out_dir", type=_folder, metavar="OUT_DIR")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace OUT_DIR if it is a preset directory",
    )
    parser.add_argument(
        "--sample-rate",
        type=_count,
        metavar="HZ",
        help="rate the model was trained at (from hparams.yaml or the bands)",
    )
    _add_backend(parser)


def _add_prepare(commands):
    parser = commands.add_parser(
        "prepare",
        help="prepare a dataset for training and evaluation",
        description="Checks the files of a dataset and stores them, or an "
        "index of them, in DATA_DIR/DATASET/CONFIG. Damaged or missing files "
        "are all named, and then nothing is written.",
        epilog="""\
datasets, and what the manual directory holds:
  dnr          Divide and Remaster: the folders tr, cv, tt (version 2), or
               language folders with train, val, test (version 3)
  musdb18_hq   MUSDB18-HQ: the folders train and test
  film_mix     any of the folders speech, music, effects with your sounds, or
               nothing (sounds are generated): tracks are mixed there first

configs:
  paths        keep the audio where it is, store an index (default)
  segments     store seconds of samples: portable, for training elsewhere
  tracks       store FLAC files: smallest, for evaluation
  of dnr       v2_paths (default), ..., v3_eng_paths, v3_multi_segments, ...

"""
        + _EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=prepare_command)
    parser.add_argument(
        "dataset", choices=["dnr", "musdb18_hq", "film_mix"], metavar="DATASET"
    )
    parser.add_argument(
        "--manual-dir",
        type=_folder,
        required=True,
        metavar="DIR",
        help="folder with the dataset's files",
    )
    parser.add_argument(
        "--data-dir",
        type=_folder,
        required=True,
        metavar="DIR",
        help="where datasets are prepared",
    )
    parser.add_argument(
        "--config", metavar="NAME", help="how it is stored, see below"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="make it again if it is prepared; the former one stays if that "
        "fails",
    )
    parser.add_argument(
        "--num-tracks",
        type=_counts,
        metavar="TRAIN,VALIDATION,TEST",
        help="film_mix: tracks to mix (70,10,20)",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        metavar="S",
        help="film_mix: length of the tracks (60)",
    )
    parser.add_argument(
        "--sample-rate",
        type=_count,
        metavar="HZ",
        help="film_mix: rate of the tracks (44100)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="film_mix: seed (0)"
    )
    parser.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="film_mix: processes that mix (1)",
    )
    parser.add_argument(
        "--remix",
        action="store_true",
        help="film_mix: remove tracks that were mixed otherwise, with another "
        "length, rate, seed or other sounds",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="only errors, no progress"
    )


def _add_evaluate(commands):
    parser = commands.add_parser(
        "evaluate",
        help="score a model on a prepared dataset",
        description="Separates whole tracks of a prepared dataset and scores "
        "the stems, with oracles beside them. Writes OUTPUT/results.md, "
        "summary.json, plots/<stem>.png and tracks/<name>.json; run again, "
        "it continues with the tracks that are missing.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(
        command=evaluate_command, residual=False, engine_cache=None
    )
    parser.add_argument(
        "--preset",
        required=True,
        metavar="NAME_OR_DIR",
        help="preset directory, name (see presets), or hf://...",
    )
    parser.add_argument(
        "--data-dir",
        type=_folder,
        required=True,
        metavar="DIR",
        help="where datasets are prepared (see prepare)",
    )
    parser.add_argument(
        "--split",
        choices=["train", "validation", "test"],
        default="test",
        help="part of the dataset (%(default)s)",
    )
    parser.add_argument(
        "--output",
        type=_folder,
        default="evaluation",
        metavar="DIR",
        help="directory of the results (%(default)s)",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME[/CONFIG]",
        help="dnr, musdb18_hq or film_mix (the one that is prepared in "
        "DATA_DIR, if it is one)",
    )
    parser.add_argument(
        "--stems",
        type=_names,
        metavar="A,B",
        help="stems to compute and score (all)",
    )
    parser.add_argument(
        "--mne",
        action="store_true",
        help="also score mne: music plus effects",
    )
    _add_mixture_consistency(parser)
    parser.add_argument(
        "--chunk-seconds",
        type=_seconds,
        default=DEFAULT_CHUNK_SECONDS,
        metavar="S",
        help="length of the chunks that the model sees (%(default)s)",
    )
    parser.add_argument(
        "--hop-seconds",
        type=_seconds,
        default=0.5,
        metavar="S",
        help="from chunk to chunk (%(default)s, the authors')",
    )
    parser.add_argument(
        "--batch-size",
        type=_count,
        default=DEFAULT_BATCH_SIZE,
        metavar="N",
        help="chunks at a time; raise it on a GPU (%(default)s)",
    )
    _add_engine(parser)
    parser.add_argument(
        "--oracles",
        type=_names,
        default=["mixture", "irm", "psf"],
        metavar="A,B",
        help="rows beside the model: mixture, irm, wiener, iam, psf, ibm "
        "(mixture,irm,psf)",
    )
    parser.add_argument(
        "--museval",
        action="store_true",
        help="also score with museval (BSSEval v4), which takes long",
    )
    parser.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="processes for oracles and scores, beside the model's (none)",
    )
    parser.add_argument(
        "--limit",
        type=_count,
        metavar="N",
        help="only the first N tracks",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="only errors, no progress or table"
    )
    _add_backend(parser)


def _add_mixture_consistency(parser):
    parser.add_argument(
        "--mixture-consistency",
        action="store_true",
        help="share out what the stems leave of the mixture among them, so "
        "that they add up to it",
    )


def _add_engine(parser):
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what computes: keras, openvino, or openvino where it is "
        "installed, can run the model, there is no GPU and no --backend "
        "(%(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="bfloat16 is faster and less exact: OpenVINO, on processors "
        "that have it (%(default)s)",
    )


def _add_backend(parser):
    parser.add_argument(
        "--backend",
        choices=["tensorflow", "jax", "torch"],
        help="Keras backend (KERAS_BACKEND, else ~/.keras/keras.json, else "
        "tensorflow)",
    )


def build_parser():
    """Returns the `argparse` parser of all commands."""
    parser = _Parser(
        prog="keras-bandit",
        description="Separates the sound of films into dialogue, music and "
        "effects with BandIt and its relatives.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_separate(commands)
    presets = commands.add_parser(
        "presets", help="list the presets with their sizes"
    )
    presets.set_defaults(command=presets_command)
    _add_convert(commands)
    _add_prepare(commands)
    _add_evaluate(commands)
    return parser


# --------------------------------------------------------------------------
# Backend and model
# --------------------------------------------------------------------------


def choose_backend(backend):
    """Sets Keras' backend, before Keras is imported.

    Args:
        backend: "tensorflow", "jax" or "torch"; `None` leaves the choice to
            `KERAS_BACKEND` and Keras' own configuration.

    Raises:
        CommandError: if the backend isn't installed, or Keras already runs
            on another one.
    """
    if backend is None:
        return
    if "keras" in sys.modules:
        running = sys.modules["keras"].backend.backend()
        if running != backend:
            raise CommandError(
                f"Keras already runs on {running} in this process; got "
                f"--backend {backend}"
            )
    if importlib.util.find_spec(backend) is None:
        raise CommandError(
            f"the backend {backend} is not installed: "
            f"pip install 'keras-bandit[{backend}]'"
        )
    os.environ["KERAS_BACKEND"] = backend


@contextlib.contextmanager
def _hidden_stderr():
    """Holds back what is written to standard error, by C++ too.

    It is shown after all if the block raises an exception.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def import_keras():
    """Imports Keras and KerasHub without TensorFlow's start messages.

    `TF_CPP_MIN_LOG_LEVEL=3` silences them but for those on missing GPUs
    (TensorFlow 2.21, `cudart_stub.cc`). All are shown if the user has set that
    variable.

    Where `KERAS_BACKEND` names another backend, JAX is not imported either:
    Keras (3.15) and TensorFlow's converter would, for most of a second.
    """
    silent = without_jax = contextlib.nullcontext()
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        silent = _hidden_stderr()
    if os.environ.get("KERAS_BACKEND", "jax") != "jax":
        without_jax = hidden_module("jax")
    with silent, without_jax:
        from keras_bandit.backend.process import without_tensorflow

        with without_tensorflow():
            importlib.import_module("keras_hub")


def find_preset(preset):
    """Finds what holds a preset's weights.

    Args:
        preset: str. A preset directory, which goes before a name; a name
            with trained weights; or a URL such as `hf://…`.

    Returns:
        str. A directory, or the URL.

    Raises:
        CommandError: if there is no such preset, or it has no weights.
    """
    from keras_bandit import presets

    if os.path.isdir(preset):
        if not os.path.isfile(os.path.join(preset, "config.json")):
            raise CommandError(
                f"{preset}: not a preset directory (no config.json); make "
                "one with keras-bandit convert"
            )
        # An absolute path is never mistaken for a preset's name.
        return os.path.abspath(preset)
    if preset in presets.list_presets():
        folder = presets.weights_directory(preset)
        if folder is None:
            raise CommandError(
                f"preset {preset} has an architecture but no trained "
                "weights; convert a checkpoint with keras-bandit convert "
                "and give its directory"
            )
        return str(folder)
    if "://" not in preset:
        raise CommandError(
            f"preset {preset}: no such directory, and no such name (see "
            "keras-bandit presets)"
        )
    return preset


def load_separator(preset):
    """Loads the Keras model of a preset, and tunes this process for it.

    Args:
        preset: str, see `find_preset`.

    Returns:
        `AudioSeparator`.

    Raises:
        CommandError: as `find_preset`, or if it cannot be loaded.
    """
    found = find_preset(preset)
    import_keras()
    from keras_bandit import AudioSeparator
    from keras_bandit.backend.process import tune_process, without_tensorflow

    tune_process()
    try:
        remote = "://" in found
        with contextlib.nullcontext() if remote else without_tensorflow():
            return AudioSeparator.from_preset(found)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"cannot load preset {preset}: {explain(error)}"
        ) from error


def load_on_openvino(preset, precision, cache_dir):
    """Loads a preset's model on OpenVINO, without Keras if that can be.

    Args:
        preset: str, see `find_preset`.
        precision: "float32" or "bfloat16".
        cache_dir: str or `None`; see `OpenVINOSeparator`.

    Returns:
        `OpenVINOSeparator`.

    Raises:
        CommandError: as `load_separator`, or if this processor does not have
            the precision.
        NotOnOpenVINOError: if OpenVINO is damaged or cannot run the model.
    """
    from keras_bandit.inference import openvino_network

    try:
        from keras_bandit.inference.openvino_separator import (
            OpenVINOSeparator,
            check_precision,
        )
    except ImportError as error:
        raise NotOnOpenVINOError(
            f"OpenVINO cannot be imported: {explain(error)}"
        ) from error
    try:
        check_precision(precision)
    except ValueError as error:
        raise CommandError(explain(error)) from error
    found = find_preset(preset)
    try:
        network = openvino_network.read_network(found)
    except (KeyError, OSError, ValueError):
        # A BSRNN, a URL, a damaged preset: Keras loads it or says why not.
        separator = load_separator(preset)
        try:
            network = openvino_network.network_of(separator)
        except openvino_network.UnsupportedModelError as error:
            raise NotOnOpenVINOError(explain(error), separator) from error
    return OpenVINOSeparator(network, precision, cache_dir)


# --------------------------------------------------------------------------
# separate
# --------------------------------------------------------------------------


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


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What is computed and written for each file.

    Args:
        computed: list of str. Stems that the model must give.
        stems: list of str. Stems that are written.
        mne: the two stems that make `mne`, or an empty tuple.
        residual: bool. Whether the residual is written.
    """

    computed: list
    stems: list
    mne: tuple
    residual: bool

    @property
    def written(self):
        """Names of the files, without suffix."""
        derived = ["mne"] * bool(self.mne) + ["residual"] * self.residual
        return [*self.stems, *derived]


def separate_command(args):
    """Runs `keras-bandit separate`; returns the exit status."""
    if args.hop_seconds and args.hop_seconds > args.chunk_seconds:
        raise CommandError(
            "--hop-seconds must be at most --chunk-seconds; got "
            f"{args.hop_seconds} and {args.chunk_seconds}"
        )
    sources = [pathlib.Path(file) for file in args.files]
    _check_names(sources)
    engine = _choose_engine(args)
    if args.engine_cache and engine == "openvino":
        _check_writable(pathlib.Path(args.engine_cache))
    choose_backend(args.backend)

    # All that can be known beforehand is checked before the model is loaded
    # and all files before the first is computed.
    jobs = _attempt(sources, lambda source: _prepare(source, args))
    if jobs:
        separator = _load(args, engine)
        plan = _plan_stems(args, separator.stems)
        _check_chunks(args, separator)
        jobs = _attempt(
            jobs, lambda job: _check_job(job, plan, separator, args)
        )
    if jobs:
        if plan.computed != list(separator.stems):
            separator = separator.with_stems(plan.computed)
        jobs = _attempt(
            jobs, lambda job: _separate_file(job, plan, separator, args)
        )
    if not jobs:
        return 2
    return 0 if len(jobs) == len(sources) else 1


def _choose_engine(args):
    """Returns "keras" or "openvino"; Keras where its backend was named."""
    if args.backend and args.engine == "openvino":
        raise CommandError(
            f"--backend is Keras's; got --backend {args.backend} and --engine "
            "openvino"
        )
    if args.backend and args.precision != "float32":
        raise CommandError(
            f"--precision {args.precision} is OpenVINO's; got --backend "
            f"{args.backend} and --precision {args.precision}"
        )
    if args.engine_cache and (args.backend or args.engine == "keras"):
        keras = (
            f"--backend {args.backend}" if args.backend else "--engine keras"
        )
        raise CommandError(
            f"--engine-cache is OpenVINO's; got {keras} and --engine-cache "
            f"{args.engine_cache}"
        )
    engine = "keras" if args.backend else args.engine
    try:
        return choose_engine(engine, args.precision)
    except (ImportError, ValueError) as error:
        raise CommandError(explain(error)) from error


def _load(args, engine):
    """Loads the model, and says on which engine if that was left open."""
    separator, reason = None, ""
    if engine == "openvino":
        try:
            separator = load_on_openvino(
                args.preset, args.precision, args.engine_cache
            )
        except NotOnOpenVINOError as error:
            _check_fallback(args, error)
            engine, separator, reason = "keras", error.separator, f": {error}"
    if separator is None:
        separator = load_separator(args.preset)
    if args.engine_cache and engine == "keras":
        _report("warning: --engine-cache is not used: Keras computes")
    if args.engine == "auto" and not args.quiet:
        _report(f"computing with {engine}, {args.precision}{reason}")
    return separator


def _check_fallback(args, error):
    """Refuses Keras instead of OpenVINO, unless that was left open."""
    if args.engine == "openvino" or args.precision != "float32":
        precision = " --precision float32" * (args.precision != "float32")
        raise CommandError(
            f"preset {args.preset}: {error}; --engine keras{precision} can"
        ) from error


def _attempt(items, function):
    """Applies a function to each; reports the failed, returns the others'."""
    from keras_bandit.inference.audio import AudioFileError

    results = []
    for item in items:
        try:
            results.append(function(item))
        except (CommandError, AudioFileError) as error:
            _report(f"error: {error}")
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


def _prepare(source, args):
    """Checks one input and returns its `_Job`."""
    from keras_bandit.inference import audio

    source_format = audio.probe(source)
    try:
        subtype = audio.choose_subtype(args.format, args.subtype, source_format)
    except audio.AudioFileError as error:
        raise CommandError(f"{source}: {error}") from error
    folder = pathlib.Path(args.output, source.stem)
    _check_writable(folder)
    return _Job(source, folder, subtype, source_format)


def _check_writable(folder):
    """Checks that a directory can be made, or written to if it exists."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise CommandError(f"{existing}: not a directory; cannot write there")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise CommandError(f"{existing}: no permission to write there")


def _plan_stems(args, available):
    """Chooses stems from the arguments and those that the model has."""
    from keras_bandit.inference.separation import check_adds_up

    available = list(available)
    stems = args.stems or available
    unknown = [stem for stem in stems if stem not in available]
    if unknown:
        raise CommandError(
            f"--stems: this model has no {', '.join(unknown)}; it has "
            f"{', '.join(available)}"
        )
    effects = [stem for stem in ("effects", "sfx") if stem in available]
    if args.mne and not ("music" in available and effects):
        raise CommandError(
            "--mne needs the stems music and effects (or sfx); this model "
            f"has {', '.join(available)}"
        )
    mne = ("music", effects[0]) if args.mne else ()
    computed = list(dict.fromkeys([*stems, *mne]))
    if args.mixture_consistency:
        computed = available
        try:
            check_adds_up(available)
        except ValueError as error:
            raise CommandError(f"--mixture-consistency: {error}") from error
    plan = _Plan(computed, stems, mne, args.residual)
    for name in plan.written:
        if plan.written.count(name) > 1:
            raise CommandError(f"--{name}: this model has a stem of that name")
    return plan


def _check_chunks(args, separator):
    from keras_bandit.inference.separation import chunk_and_hop

    try:
        chunk_and_hop(separator, args.chunk_seconds, args.hop_seconds)
    except ValueError as error:
        raise CommandError(str(error)) from error


def _paths(job, plan, args):
    """Returns a dict of each written name's path."""
    return {name: job.folder / f"{name}.{args.format}" for name in plan.written}


def _check_job(job, plan, separator, args):
    """Checks one file against the model and what exists; returns it."""
    from keras_bandit.inference.separation import check_channels

    try:
        check_channels(job.format.num_channels, separator.num_channels)
    except ValueError as error:
        raise CommandError(f"{job.source}: {error}") from error
    paths = _paths(job, plan, args).values()
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


def _separate_file(job, plan, separator, args):
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
    _write_stems(job, plan, _derive(stems, mixture, plan), args)
    if not args.quiet:
        _say(_summary(job, plan, elapsed))
    return job


def _derive(stems, mixture, plan):
    """Returns the stems to write, with `mne` and `residual` as planned."""
    written = {stem: stems[stem] for stem in plan.stems}
    if plan.mne:
        music, effects = plan.mne
        written["mne"] = stems[music] + stems[effects]
    if plan.residual:
        residual = mixture.copy()
        for stem in plan.stems:
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


def _write_stems(job, plan, stems, args):
    """Writes the stems of one file, all or none."""
    from keras_bandit.inference import audio

    paths = _paths(job, plan, args)
    try:
        with (
            _made_folder(job.folder),
            audio.complete_files(
                list(paths.values()), args.overwrite
            ) as temporary,
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


def _warn_clipped(path, samples, subtype):
    from keras_bandit.inference.audio import count_clipped, decibels

    clipped = count_clipped(samples, subtype)
    if clipped:
        peak = max(samples.max(), -samples.min())
        _report(
            f"warning: {path}: peaks at {decibels(peak):+.2f} dBFS, {clipped} "
            f"samples clipped to full scale in {subtype}; --subtype FLOAT "
            "(wav) keeps them"
        )


def _summary(job, plan, elapsed):
    audio_format = job.format
    seconds = audio_format.num_samples / audio_format.sample_rate
    return (
        f"{job.source}: {seconds:.2f} s, {audio_format.num_channels} "
        f"channel(s), {audio_format.sample_rate} Hz -> {job.folder}/: "
        f"{', '.join(plan.written)} ({job.subtype}), separated in "
        f"{elapsed:.1f} s, {elapsed / seconds:.2f} x real time"
    )


# --------------------------------------------------------------------------
# presets and convert
# --------------------------------------------------------------------------


def presets_command(args):
    """Runs `keras-bandit presets`; returns the exit status."""
    del args
    from keras_bandit.preset_table import preset_table

    _say(preset_table())
    return 0


def convert_command(args):
    """Runs `keras-bandit convert`; returns the exit status."""
    checkpoint, out_dir = (
        pathlib.Path(args.checkpoint),
        pathlib.Path(args.out_dir),
    )
    if not checkpoint.exists():
        raise CommandError(f"{checkpoint}: No such file or directory")
    _check_replaceable(out_dir, args.overwrite)
    _check_writable(out_dir.absolute().parent)
    choose_backend(args.backend)
    import_keras()
    from keras_bandit import convert

    try:
        separator = convert.from_checkpoint(
            str(checkpoint), sample_rate=args.sample_rate
        )
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(f"{checkpoint}: {explain(error)}") from error
    try:
        _save_preset(separator, out_dir)
    except OSError as error:
        raise CommandError(explain(error)) from error
    _say(f"{checkpoint} -> {out_dir}\n{_describe(separator)}")
    return 0


def _check_replaceable(out_dir, overwrite):
    """Refuses a file, and a full directory unless it is a preset to replace."""
    if out_dir.exists() and not out_dir.is_dir():
        raise CommandError(f"{out_dir}: not a directory")
    if not out_dir.is_dir() or not any(out_dir.iterdir()):
        return
    if not overwrite:
        raise CommandError(f"{out_dir}: already there; --overwrite replaces")
    if not (out_dir / "config.json").is_file():
        raise CommandError(
            f"{out_dir}: not a preset directory (no config.json), so it is "
            "not replaced"
        )


def _save_preset(separator, out_dir):
    """Saves a preset under a temporary name and renames it."""
    out_dir = pathlib.Path(os.path.abspath(out_dir))
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    made = out_dir.with_name(f".{out_dir.name}.{os.getpid()}.tmp")
    former = out_dir.with_name(f".{out_dir.name}.{os.getpid()}.old")
    try:
        separator.save_to_preset(str(made))
        if out_dir.exists():
            os.rename(out_dir, former)
        try:
            os.rename(made, out_dir)
        except BaseException:
            if former.exists():
                os.rename(former, out_dir)
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def _describe(separator):
    """Says in a few lines what a model is."""
    return "\n".join(
        [
            f"  class       {type(separator).__name__}",
            f"  bands       {_describe_bands(separator)}",
            f"  stems       {', '.join(separator.stems)}",
            f"  rate        {separator.sample_rate} Hz",
            f"  channels    {separator.num_channels or 'any number'}",
            f"  parameters  {separator.count_params():,}",
        ]
    )


def _describe_bands(separator):
    """Names the layout, or each stem's where they have their own."""
    backbone = separator.backbone
    layouts = backbone.band_layout
    if not isinstance(layouts, dict):
        layouts = dict.fromkeys(separator.stems, layouts)
    bands = {}
    for stem in separator.stems:
        layout = layouts[stem] if isinstance(layouts[stem], str) else "own"
        bands[stem] = f"{len(backbone.decoder_bands(stem))} {layout}"
    if len(set(bands.values())) == 1:
        return bands[separator.stems[0]]
    return ", ".join(f"{stem}: {text}" for stem, text in bands.items())


# --------------------------------------------------------------------------
# evaluate
# --------------------------------------------------------------------------


def evaluate_command(args):
    """Runs `keras-bandit evaluate`; returns the exit status."""
    if args.hop_seconds > args.chunk_seconds:
        raise CommandError(
            "--hop-seconds must be at most --chunk-seconds; got "
            f"{args.hop_seconds} and {args.chunk_seconds}"
        )
    output = pathlib.Path(args.output)
    _check_writable(output)
    engine = _choose_engine(args)
    choose_backend(args.backend)
    dataset, tracks = _open_tracks(args)
    metrics = ["snr", "si_snr"]
    if dataset.startswith("musdb18_hq/"):
        metrics += ["usdr", "csdr"]
    if args.museval:
        metrics.append("museval")
    separator = load_separator(args.preset)
    plan = _plan_stems(args, separator.stems)
    from keras_bandit.evaluation import evaluate

    try:
        summary = evaluate(
            separator,
            tracks,
            output,
            stems=plan.stems,
            composites={"mne": plan.mne} if plan.mne else None,
            chunk_seconds=args.chunk_seconds,
            hop_seconds=args.hop_seconds,
            batch_size=args.batch_size,
            oracles=args.oracles,
            metrics=metrics,
            num_workers=args.workers or 0,
            # With "auto" a model that OpenVINO cannot run stays with Keras.
            engine=engine if engine == "keras" else args.engine,
            precision=args.precision,
            mixture_consistency=args.mixture_consistency,
            progress=not args.quiet and sys.stderr.isatty(),
            model_name=os.path.basename(os.path.normpath(args.preset)),
            dataset=dataset,
            split=args.split,
            report=lambda line: _report(f"error: {line}"),
        )
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise CommandError(explain(error)) from error
    if not summary["num_tracks"]:
        return 2
    if not args.quiet:
        _say((output / "results.md").read_text(encoding="utf-8"))
        _say(f"-> {output}")
    return 1 if summary["failed"] else 0


def _open_tracks(args):
    """Returns the dataset's full name and the tracks to evaluate."""
    from keras_bandit import data
    from keras_bandit.data.stored_tracks import find_prepared

    dataset = args.dataset or _only_dataset(args.data_dir)
    try:
        directory = find_prepared(dataset, args.data_dir)
        tracks = data.open_tracks(dataset, args.split, args.data_dir)
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(explain(error)) from error
    if not tracks:
        raise CommandError(f"{directory}: no tracks in split {args.split}")
    return "/".join(directory.parts[-3:]), tracks[: args.limit]


def _only_dataset(data_dir):
    """Name of the dataset, and config, that is the only one prepared."""
    found = pathlib.Path(data_dir).glob("*/*/*/dataset_info.json")
    names = sorted({"/".join(path.parts[-4:-2]) for path in found})
    datasets = sorted({name.partition("/")[0] for name in names})
    if len(datasets) != 1:
        there = f"there are {', '.join(names)}" if names else "none is"
        raise CommandError(
            f"{data_dir}: not one dataset prepared ({there}): name one with "
            "--dataset, or run keras-bandit prepare"
        )
    return names[0] if len(names) == 1 else datasets[0]


# --------------------------------------------------------------------------
# prepare
# --------------------------------------------------------------------------


def prepare_command(args):
    """Runs `keras-bandit prepare`; returns the exit status."""
    options = {
        "counts": args.num_tracks,
        "seconds": args.seconds,
        "sample_rate": args.sample_rate,
        "seed": args.seed,
        "workers": args.workers,
        "overwrite": args.remix or None,
    }
    mixing = {key: value for key, value in options.items() if value is not None}
    from keras_bandit.prepare import describe, prepare

    try:
        directory, notes = prepare(
            args.dataset,
            args.manual_dir,
            args.data_dir,
            config=args.config,
            overwrite=args.overwrite,
            show_progress=not args.quiet and sys.stderr.isatty(),
            mixing=mixing,
        )
    except FileExistsError as error:
        raise CommandError(
            f"{error.filename or error}; --overwrite makes it again"
        ) from error
    except ValueError as error:
        # Several lines where several files are at fault.
        raise CommandError(str(error)) from error
    except (ImportError, OSError) as error:
        raise CommandError(explain(error)) from error
    for note in notes:
        _report(f"note: {note}")
    if not args.quiet:
        _say(f"{directory}: {describe(directory)}")
    return 0


# --------------------------------------------------------------------------
# Output and entry
# --------------------------------------------------------------------------


def explain(error):
    """Returns an exception's message in one line, a file's name first."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return one_line(error)


def _report(message):
    print(f"keras-bandit: {message}", file=sys.stderr)


# What kept `_say` from printing. The work goes on.
_unsaid = []


def _say(message):
    try:
        print(message, flush=True)
    except OSError as error:
        _unsaid.append(error)


def main(argv=None):
    """Runs the command line.

    Args:
        argv: list of str; `None` takes the process's arguments.

    Returns:
        int, the exit status: see `keras-bandit --help`.
    """
    _unsaid.clear()
    try:
        args = build_parser().parse_args(argv)
        status = args.command(args)
    except CommandError as error:
        _report(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        _report("interrupted")
        return 130
    if _unsaid and not isinstance(_unsaid[0], BrokenPipeError):
        _report(f"error: standard output: {_unsaid[0].strerror}")
    return status or int(bool(_unsaid))


def run():
    """The `keras-bandit` command: `main`, then the process's end.

    Python frees the modules of Keras and its backend one object after the
    other, which takes seconds; the system takes back their memory at once.
    """
    status = main()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # None where it was closed from the start
            with contextlib.suppress(OSError):  # `main` has said so
                stream.flush()
    os._exit(status)
