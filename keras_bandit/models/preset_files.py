"""Files of a preset directory, local or remote: checked, read, written."""

import contextlib
import inspect
import os
import warnings

import h5py
import keras

from keras_bandit.common.files import read_json, write_json

CONFIG_FILE = "config.json"
METADATA_FILE = "metadata.json"
TASK_FILE = "task.json"
TASK_WEIGHTS_FILE = "task.weights.h5"


def decoder_file(stem):
    """Name of the weights file of a stem's part."""
    return f"decoder_{stem}.weights.h5"


def find_preset_file(preset, name, optional=False):
    """Local path of a preset's file, downloaded if the preset is remote.

    A preset is a directory or a handle that KerasHub knows (`hf://…`). A file
    that is missing is a `ValueError`, or `None` if it is optional.
    """
    if "://" not in preset:
        path = os.path.join(preset, name)
        if os.path.isfile(path):
            return path
    else:
        # Not public in KerasHub 0.32, but the one place that knows handles.
        from keras_hub.src.utils.preset_utils import get_file

        try:
            return get_file(preset, name)
        except FileNotFoundError as error:
            # Hugging Face's: not in its cache, and no answer.
            offline = (
                type(error.__cause__).__name__ == "LocalEntryNotFoundError"
            )
            if offline and not optional:
                raise ValueError(
                    f"preset {preset!r} cannot be reached over the network, "
                    f"and {name} is not in the local cache"
                ) from error
        except ValueError as error:
            if "Unknown preset identifier" not in str(error):
                raise
            raise ValueError(
                "preset must be a name, a directory or a handle such as "
                f"hf://user/model; got {preset!r}"
            ) from error
    if optional:
        return None
    raise ValueError(f"preset {preset!r} has no file {name}")


def check_encoder_weights(preset):
    """`ValueError` if a directory's encoder weights are missing or no HDF5.

    KerasHub's errors name no file, or one of a sharded preset.
    """
    names = ("model.weights.h5", "model.weights.json")
    paths = [os.path.join(preset, name) for name in names]
    if os.path.isfile(paths[0]):
        try:
            h5py.File(paths[0]).close()
        except OSError as error:
            raise ValueError(f"{paths[0]} is damaged: {error}") from error
    elif not os.path.isfile(paths[1]):
        raise ValueError(f"preset {preset!r} has no file {names[0]}")


def read_preset_json(preset, name):
    """Reads a preset's JSON file, a dict, or raises `ValueError`."""
    return read_json(find_preset_file(preset, name))


def check_object(description, expected, where):
    """Checks what Keras wrote of an object before anything is built of it.

    Returns its class. `ValueError`, about the file `where`, if `description`,
    such as the content of `task.json`, is not of an `expected`, or if it or its
    backbone has an argument that its class does not take, lacks one, or has
    code in the place of a value.
    """
    if not isinstance(description, dict):
        raise ValueError(f"{where} must be an object; got {description!r:.99}")
    name, config = description.get("registered_name"), description.get("config")
    found = None
    if isinstance(name, str):
        found = keras.saving.get_registered_object(name)
    if not inspect.isclass(found) or not isinstance(config, dict):
        raise ValueError(
            f"{where} must name a registered class and its config; got "
            f"registered_name {name!r}"
        )
    if not issubclass(found, expected):
        raise ValueError(
            f"{where} describes a {found.__name__}, not a {expected.__name__}"
        )
    accepted = _arguments(found)
    for key, value in config.items():
        if key not in accepted:
            raise ValueError(
                f"{where}: a {found.__name__} takes {sorted(accepted)}; got "
                f"{key!r}"
            )
        if key != "backbone":
            _check_value(value, f"{where}: {key}")
    missing = [
        parameter.name
        for parameter in inspect.signature(found.__init__).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and parameter.name not in {*config, "self"}
    ]
    if missing:
        raise ValueError(f"{where} lacks {missing}")
    backbone_cls = getattr(found, "backbone_cls", None)
    if backbone_cls is not None:
        check_object(config.get("backbone"), backbone_cls, f"{where}: backbone")
    return found


def _arguments(cls):
    """Names that a class's constructor takes, through its `**kwargs`."""
    accepted = {"name", "trainable", "dtype"}
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] in ("keras", "keras_hub"):
            break
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        accepted |= {
            p.name
            for p in parameters
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return accepted - {"self"}


# Functions, lambdas, tensors, … come back from JSON under these names.
_PLAIN_CLASSES = ("__numpy__", "__tensor__")


def _check_value(value, where):
    """Refuses code in the place of a value: only registered classes pass."""
    if isinstance(value, list):
        for item in value:
            _check_value(item, where)
    if not isinstance(value, dict):
        return
    if "class_name" in value:
        name = value.get("registered_name") or value["class_name"]
        found = isinstance(name, str) and (
            value.get("module") in ("keras", "keras.initializers")
            or name in _PLAIN_CLASSES
            or inspect.isclass(keras.saving.get_registered_object(name))
        )
        if not found:
            raise ValueError(
                f"{where} must be a value or a registered class; got "
                f"{value.get('module')}.{value['class_name']}"
            )
    for item in value.values():
        _check_value(item, where)


@contextlib.contextmanager
def building(preset):
    """Turns what a damaged preset raises while it is built into one error."""
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as error:
        # Keras wraps a constructor's error in all of its arguments.
        inner = error.__context__
        if isinstance(error, TypeError) and inner and str(inner) in str(error):
            error = inner
        raise ValueError(
            f"preset {preset!r} does not describe a model that can be built: "
            f"{type(error).__name__}: {error}"
        ) from error


def load_weights(model, path, skip=None):
    """Reads a model's weights file, but for the layers `skip`.

    `ValueError` if it is damaged or does not fit; the model is as it was then.
    """
    former = model.get_weights()
    path = os.fspath(path)
    try:
        with warnings.catch_warnings():
            # On a mismatch Keras warns of layers it skips, then raises.
            warnings.simplefilter("ignore", UserWarning)
            keras.saving.load_weights(model, path, objects_to_skip=skip)
    except FileNotFoundError:
        raise
    except Exception as error:  # HDF5 raises many kinds for damaged files
        model.set_weights(former)
        shapes = [tuple(weight.shape) for weight in model.weights]
        raise ValueError(
            f"{path!r} does not fit {model.name}, whose weights "
            f"have shapes {shapes}: {error}"
        ) from error


def describe_object(model):
    """What Keras writes of a model, without how it was compiled."""
    description = keras.saving.serialize_keras_object(model)
    for key in ("compile_config", "build_config"):
        description.pop(key, None)
    return description


def write_task(task, directory):
    """Writes the preset of a separator without `backbone`.

    `config.json` describes the separator, not an encoder.
    """
    files = dict.fromkeys((CONFIG_FILE, TASK_FILE), describe_object(task))
    files[METADATA_FILE] = {
        "keras_version": keras.version(),
        "parameter_count": task.count_params(),
    }
    for name, content in files.items():
        write_json(os.path.join(directory, name), content)
    if task.has_task_weights():
        task.save_task_weights(os.path.join(directory, TASK_WEIGHTS_FILE))
