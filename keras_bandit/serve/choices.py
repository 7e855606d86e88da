"""What may be chosen on the page, and what it means for `separate_file`."""

import dataclasses
import importlib.util
import pathlib

from keras_bandit.common.files import read_json
from keras_bandit.inference import CHUNKINGS
from keras_bandit.inference.stem_names import stem_of

QUALITIES = ("fast", "standard", "authors")
"""A hop of three quarters of a chunk, the model's own, and that of its authors."""

FORMATS = {
    "wav": {"file_format": "wav", "subtype": None},
    "wav24": {"file_format": "wav", "subtype": "PCM_24"},
    "float": {"file_format": "wav", "subtype": "FLOAT"},
    "flac": {"file_format": "flac", "subtype": None},
}
"""Formats of the stems' files; "wav" keeps the depth of the recording."""

EXTRAS = ("mne", "residual", "report", "remux")


@dataclasses.dataclass(frozen=True)
class Model:
    """A preset that the page offers.

    Args:
        name: str. What it is called on the page.
        preset: str. What `find_preset` takes.
        description, licence: str.
        stems: list of str.
        bytes: int. Size of its files; `None` if it is not there yet.
    """

    name: str
    preset: str
    description: str
    licence: str
    stems: list
    bytes: int | None

    @property
    def has_mne(self):
        """Whether music plus effects can be made of its stems."""
        return all(stem_of(kind, self.stems) for kind in ("music", "effects"))


def _size(folder):
    return sum(p.stat().st_size for p in pathlib.Path(folder).glob("*"))


def _built_in(name):
    from keras_bandit.models.presets import (
        PRESETS,
        is_preset_directory,
        weights_directory,
    )

    preset, folder = PRESETS[name], weights_directory(name)
    if folder is None:
        raise ValueError(
            f"preset {name} has an architecture but no trained weights"
        )
    bundled = isinstance(preset.weights, str)
    return Model(
        name,
        name,
        preset.description,
        "Apache-2.0" if bundled else preset.weights.record.licence,
        list(preset.stems),
        _size(folder) if is_preset_directory(folder) else None,
    )


def _directory(path):
    from keras_bandit.inference.engines import find_preset

    folder = pathlib.Path(find_preset(path))
    exported, task = folder / "separator.json", folder / "task.json"
    if exported.exists():
        stems = read_json(exported)["stems"]
    else:
        stems = read_json(task)["config"]["stems"]
    about = {}
    if (folder / "metadata.json").exists():
        about = read_json(folder / "metadata.json").get("keras_bandit") or {}
    return Model(
        folder.name,
        str(folder),
        str(about.get("purpose", "")),
        str(about.get("license", "")),
        stems,
        _size(folder),
    )


def models_on_offer(named=()):
    """`{name: Model}`: those of `named`, or all built-in ones that are there.

    `named` are names or directories of presets. `ValueError` or `OSError` if
    one is none; two directories of one name are a `ValueError`, too.
    """
    from keras_bandit.models.presets import PRESETS, means_built_in

    if not named:
        found = [_built_in(n) for n, p in PRESETS.items() if p.weights]
        return {m.name: m for m in found if m.bytes is not None}
    models = {}
    for preset in named:
        of = _built_in if means_built_in(preset) else _directory
        model = of(preset)
        if model.name in models:
            raise ValueError(f"two presets are called {model.name}")
        models[model.name] = model
    return models


def extras_on_offer():
    """Those of `EXTRAS` whose packages are installed."""
    needed = {"report": "pyloudnorm", "remux": "av"}
    return [
        name
        for name in EXTRAS
        if name not in needed or importlib.util.find_spec(needed[name])
    ]


def check_request(request, models):
    """What the page sends: `{"model", "stems", "quality", "format", "extras"}`.

    Returns it with nothing else in it. `ValueError` if it is no such thing.
    """
    if not isinstance(request, dict):
        raise ValueError("a request is an object")

    def one_of(name, allowed, default):
        value = request.get(name, default)
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"{name} must be of {', '.join(allowed)}")
        return value

    def some_of(name, allowed, default):
        values = request.get(name, default)
        if not isinstance(values, list) or not all(
            isinstance(value, str) and value in allowed for value in values
        ):
            raise ValueError(f"{name} must be of {', '.join(allowed)}")
        return [value for value in allowed if value in values]

    model = models[one_of("model", list(models), next(iter(models)))]
    stems = some_of("stems", model.stems, model.stems)
    if not stems:
        raise ValueError("choose at least one stem")
    extras = some_of("extras", extras_on_offer(), [])
    if "mne" in extras and not model.has_mne:
        raise ValueError(f"{model.name} has no stems of music and effects")
    return {
        "model": model.name,
        "stems": stems,
        "quality": one_of("quality", QUALITIES, "standard"),
        "format": one_of("format", list(FORMATS), "wav"),
        "extras": extras,
    }


def separation_options(request, separator, has_picture):
    """The arguments of `separate_file` for a checked request, a dict."""
    extras, chunk = request["extras"], separator.chunk_seconds
    lengths = {}
    crossfade = getattr(separator, "crossfade", "hann")
    if request["quality"] == "fast" and crossfade == "hann":
        lengths = {"hop_seconds": 0.75 * chunk}
    elif request["quality"] == "authors":
        alike = (c for c in CHUNKINGS.values() if c["chunk_seconds"] == chunk)
        lengths = next(alike, {})
    return {
        "stems": request["stems"],
        "mne": "mne" in extras,
        "residual": "residual" in extras,
        "report": "report" in extras,
        "remux": "mkv" if "remux" in extras and has_picture else None,
        **lengths,
        **FORMATS[request["format"]],
    }
