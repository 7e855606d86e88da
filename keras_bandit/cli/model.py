"""The model of a preset, on the engine that the arguments ask for."""

import contextlib
import os

from keras_bandit.cli.backend import import_keras
from keras_bandit.cli.console import CommandError, explain, report
from keras_bandit.inference.engines import choose_engine, may_stay_on_keras


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
    from keras_bandit.models import presets

    built_in = presets.means_built_in(preset)
    if os.path.isdir(preset) and not built_in:
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
        `(separator, reason)`: an `OpenVINOSeparator` and `None`. If OpenVINO
        is damaged or cannot run the model: the Keras model, or `None` if it
        was not needed to find that out; and why, in one line.

    Raises:
        CommandError: as `load_separator`, or if this processor does not have
            the precision.
    """
    from keras_bandit.inference import openvino_network

    try:
        from keras_bandit.inference.openvino_separator import (
            OpenVINOSeparator,
            check_precision,
        )
    except ImportError as error:
        return None, f"OpenVINO cannot be imported: {explain(error)}"
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
            return separator, explain(error)
    return OpenVINOSeparator(network, precision, cache_dir), None


def resolve_engine(args):
    """Chooses what computes: Keras where its backend was named.

    Args:
        args: `argparse.Namespace` of `separate` or `evaluate`.

    Returns:
        "keras" or "openvino".

    Raises:
        CommandError: if arguments contradict each other, or the engine
            cannot be had.
    """
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
        engine: "keras" or "openvino", see `resolve_engine`.

    Returns:
        `AudioSeparator` or `OpenVINOSeparator`.

    Raises:
        CommandError: as `load_on_openvino`, or if the engine that was asked
            for cannot run the model.
    """
    separator, reason = None, None
    if engine == "openvino":
        separator, reason = load_on_openvino(
            args.preset, args.precision, args.engine_cache
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
