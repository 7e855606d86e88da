"""The model of a preset, on the engine that the arguments ask for."""

import functools

from keras_bandit.cli.backend import import_keras
from keras_bandit.cli.console import CommandError, explain, report, user_errors
from keras_bandit.export import UnsupportedModelError
from keras_bandit.export.description import is_exported_core
from keras_bandit.inference.engines import (
    choose_engine,
    find_preset,
    may_stay_on_keras,
)

NAMES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


def load_separator(preset):
    """Loads a preset's `AudioSeparator`, and tunes this process for it.

    `preset` is what `find_preset` takes.
    """
    from keras_bandit.models.presets import is_preset_directory

    with user_errors(OSError, ValueError):
        found = find_preset(preset)
    if is_exported_core(found) and not is_preset_directory(found):
        raise CommandError(
            f"{preset}: an export, which Keras does not load; give the preset "
            "that it was made from (keras-bandit separate takes exports, with "
            "--engine openvino or --engine onnxruntime)"
        )
    import_keras()
    from keras_bandit import AudioSeparator
    from keras_bandit.backend.process import tune_process

    tune_process()
    try:
        return AudioSeparator.from_preset(found)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"cannot load preset {preset}: {explain(error)}"
        ) from error


def load_core(preset, engine, precision, cache_dir, load):
    """Loads a preset's `CoreSeparator`, without Keras if that can be.

    `load` is a function that loads the Keras model of a path. Raises
    `ImportError` if the engine is damaged, and `UnsupportedModelError` if it
    cannot run the model.
    """
    from keras_bandit.inference.core_separator import CoreSeparator
    from keras_bandit.inference.runtimes import check_bfloat16, import_engine

    try:
        import_engine(engine)
    except ImportError as error:
        raise ImportError(
            f"{NAMES[engine]} cannot be imported: {explain(error)}"
        ) from error
    with user_errors(OSError, ValueError):
        check_bfloat16(precision)
        found = find_preset(preset)
    try:
        return CoreSeparator.from_preset(
            found,
            load,
            lambda line: report(f"warning: {line}"),
            engine=engine,
            precision=precision,
            cache_dir=cache_dir,
        )
    except UnsupportedModelError:
        raise
    except (OSError, ValueError) as error:
        raise CommandError(
            f"cannot load preset {preset}: {explain(error)}"
        ) from error


def resolve_engine(args):
    """Chooses what computes, "keras", "openvino" or "onnxruntime".

    `CommandError` if arguments contradict each other, or it cannot be had.
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
        name = "backend" if args.backend else "engine"
        raise CommandError(
            f"--engine-cache is OpenVINO's; got --{name} {getattr(args, name)} "
            f"and --engine-cache {args.engine_cache}"
        )
    engine = "keras" if args.backend else args.engine
    try:
        return choose_engine(engine, args.precision)
    except (ImportError, ValueError) as error:
        raise CommandError(explain(error)) from error


def load_on_engine(args, engine):
    """Loads the model, and says on which engine if that was left open."""
    load = functools.cache(lambda: load_separator(args.preset))
    because = ""
    if engine != "keras":
        options = args.preset, engine, args.precision, args.engine_cache
        try:
            separator = load_core(*options, lambda path: load())
        except (ImportError, UnsupportedModelError) as error:
            because, engine = f": {explain(error)}", "keras"
            if not may_stay_on_keras(args.engine, args.precision):
                exact = " --precision float32" * (args.precision != "float32")
                raise CommandError(
                    f"preset {args.preset}{because}; --engine keras{exact} can"
                ) from error
    if engine == "keras":
        separator = load()
        if args.engine_cache:
            report("warning: --engine-cache is not used: Keras computes")
    if args.engine == "auto" and not args.quiet:
        report(f"computing with {engine}, {args.precision}{because}")
    return separator
