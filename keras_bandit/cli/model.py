"""The model of a preset, on the engine that the arguments ask for."""

import contextlib
import os

from keras_bandit.cli.backend import import_keras
from keras_bandit.cli.console import CommandError, explain, report
from keras_bandit.inference.engines import choose_engine, may_stay_on_keras

NAMES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


def find_preset(preset):
    """Finds what holds a preset's weights.

    Args:
        preset: str. A preset directory or an export, which goes before a
            name; a name with trained weights; or a URL such as `hf://…`.

    Returns:
        str. A directory, or the URL.

    Raises:
        CommandError: if there is no such preset, or it has no weights.
    """
    from keras_bandit.export.description import is_exported_core
    from keras_bandit.models import presets

    built_in = presets.means_built_in(preset)
    if os.path.isdir(preset) and not built_in:
        if is_exported_core(preset):
            return os.path.abspath(preset)
        if not presets.is_preset_directory(preset):
            raise CommandError(
                f"{preset}: not a preset directory (no config.json); make "
                "one with keras-bandit convert"
            )
        return os.path.abspath(preset)
    if built_in:
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
    from keras_bandit.export.description import is_exported_core
    from keras_bandit.models.presets import is_preset_directory

    if is_exported_core(found) and not is_preset_directory(found):
        raise CommandError(
            f"{preset}: an export, which Keras does not load; --engine "
            "openvino or --engine onnxruntime can"
        )
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


def load_core(preset, engine, precision, cache_dir):
    """Loads a preset's core on an engine, without Keras if that can be.

    Args:
        preset: str, see `find_preset`.
        engine: "openvino" or "onnxruntime".
        precision: "float32" or "bfloat16".
        cache_dir: str or `None`; see `CoreSeparator`.

    Returns:
        `(separator, reason)`: a `CoreSeparator` and `None`. If the engine is
        damaged or cannot run the model: the Keras model, or `None` if it was
        not needed to find that out; and why, in one line.

    Raises:
        CommandError: as `load_separator`, or if this processor does not have
            the precision.
    """
    from keras_bandit.export import UnsupportedModelError
    from keras_bandit.inference.core_separator import CoreSeparator
    from keras_bandit.inference.runtimes import check_bfloat16, import_engine

    try:
        import_engine(engine)
        check_bfloat16(precision)
    except ImportError as error:
        return None, f"{NAMES[engine]} cannot be imported: {explain(error)}"
    except ValueError as error:
        raise CommandError(explain(error)) from error
    found = find_preset(preset)
    options = {"engine": engine, "precision": precision, "cache_dir": cache_dir}
    loaded = []

    def load(path):
        loaded.append(load_separator(path))
        return loaded[0]

    try:
        if "://" in found:
            return CoreSeparator.from_separator(load(found), **options), None
        separator = CoreSeparator.from_preset(
            found, load, lambda line: report(f"warning: {line}"), **options
        )
        return separator, None
    except (ImportError, UnsupportedModelError) as error:
        return (loaded[0] if loaded else None), explain(error)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"cannot load preset {preset}: {explain(error)}"
        ) from error


def resolve_engine(args):
    """Chooses what computes: Keras where its backend was named.

    Args:
        args: `argparse.Namespace` of `separate` or `evaluate`.

    Returns:
        "keras", "openvino" or "onnxruntime".

    Raises:
        CommandError: if arguments contradict each other, or the engine
            cannot be had.
    """
    if args.backend and args.engine not in ("auto", "keras"):
        raise CommandError(
            f"--backend is Keras's; got --backend {args.backend} and --engine "
            f"{args.engine}"
        )
    if args.backend and args.precision != "float32":
        raise CommandError(
            f"--precision {args.precision} is OpenVINO's; got --backend "
            f"{args.backend} and --precision {args.precision}"
        )
    if args.engine_cache and (
        args.backend or args.engine in ("keras", "onnxruntime")
    ):
        other = (
            f"--backend {args.backend}"
            if args.backend
            else f"--engine {args.engine}"
        )
        raise CommandError(
            f"--engine-cache is OpenVINO's; got {other} and --engine-cache "
            f"{args.engine_cache}"
        )
    engine = "keras" if args.backend else args.engine
    try:
        return choose_engine(engine, args.precision)
    except (ImportError, ValueError) as error:
        raise CommandError(explain(error)) from error


def _check_may_stay(args, reason):
    """Refuses Keras instead of OpenVINO, unless that was left open."""
    if not may_stay_on_keras(args.engine, args.precision):
        precision = " --precision float32" * (args.precision != "float32")
        raise CommandError(
            f"preset {args.preset}: {reason}; --engine keras{precision} can"
        )


def load_on_engine(args, engine):
    """Loads the model, and says on which engine if that was left open.

    Args:
        args: `argparse.Namespace` of `separate`.
        engine: see `resolve_engine`.

    Returns:
        `AudioSeparator` or `CoreSeparator`.

    Raises:
        CommandError: as `load_core`, or if the engine that was asked
            for cannot run the model.
    """
    separator, reason = None, None
    if engine != "keras":
        separator, reason = load_core(
            args.preset, engine, args.precision, args.engine_cache
        )
    if reason:
        _check_may_stay(args, reason)
        engine = "keras"
    if separator is None:
        separator = load_separator(args.preset)
    if args.engine_cache and engine == "keras":
        report("warning: --engine-cache is not used: Keras computes")
    if args.engine == "auto" and not args.quiet:
        because = f": {reason}" if reason else ""
        report(f"computing with {engine}, {args.precision}{because}")
    return separator
