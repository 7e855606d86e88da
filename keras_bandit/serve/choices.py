"""What may be chosen on the page, and what it means for `separate_file`."""

import dataclasses
import importlib.util
import pathlib

from keras_bandit.common.files import read_json
from keras_bandit.inference import CHUNKINGS
from keras_bandit.inference.crossfade import HOPS_PER_CHUNK
from keras_bandit.inference.dialogue import MARKERS
from keras_bandit.inference.options import REMUXES
from keras_bandit.inference.stem_choice import DELIVERABLES
from keras_bandit.inference.stem_names import stem_of

_AUTHORS = ("bandit", "bandit_v2", "mdx23")

FORMATS = {
    "wav": {"file_format": "wav", "subtype": None},
    "wav24": {"file_format": "wav", "subtype": "PCM_24"},
    "float": {"file_format": "wav", "subtype": "FLOAT"},
    "flac": {"file_format": "flac", "subtype": None},
}
"""Formats of the stems' files; "wav" keeps the depth of the recording."""

EXTRAS = ("residual", "report", "markers")


def qualities(chunk_seconds, crossfade="hann"):
    """The chunkings of a model: `{quality: arguments of separate_file}`.

    "standard" is the model's own chunking. "fast" is the chunking `"long"`, for
    models whose chunks are no longer and are joined by Hann windows. "authors"
    is what the model's authors do where that differs: their chunking of the
    same length, or Demucs's random shift. Open-Unmix's and MRX's authors
    separate whole recordings, which "standard" comes nearest to.
    """
    found, long = {"standard": {}}, CHUNKINGS["long"]
    if crossfade == "triangle":
        return {**found, "authors": {"shifts": 1}}
    if crossfade != "hann":
        return found
    if chunk_seconds <= long["chunk_seconds"]:
        found = {"fast": long, **found}
    for name in _AUTHORS:
        if CHUNKINGS[name]["chunk_seconds"] == chunk_seconds:
            found["authors"] = CHUNKINGS[name]
    return found


@dataclasses.dataclass(frozen=True)
class Model:
    """A preset that the page offers.

    Args:
        name: str. What it is called on the page.
        preset: str. What `find_preset` takes.
        description, licence: str.
        stems: list of str.
        bytes: int. Size of its files; `None` if it is not there yet.
        chunk_seconds: float, crossfade: str. See `AudioSeparator`.
    """

    name: str
    preset: str
    description: str
    licence: str
    stems: list
    bytes: int | None
    chunk_seconds: float = 6.0
    crossfade: str = "hann"

    @property
    def qualities(self):
        """See `qualities`."""
        return qualities(self.chunk_seconds, self.crossfade)

    @property
    def deliverables(self):
        """Those of `DELIVERABLES` that can be made of its stems."""
        return [
            name
            for name, kinds in DELIVERABLES.items()
            if all(stem_of(kind, self.stems) for kind in kinds)
        ]

    @property
    def extras(self):
        """Those of `EXTRAS` that can be made here of its stems."""
        measures = importlib.util.find_spec("pyloudnorm")
        possible = {"report": measures, "markers": measures}
        if "speech" not in self.stems:
            possible["markers"] = None
        return [name for name in EXTRAS if possible.get(name, True)]

    def describe(self):
        """What the page is told, a dict.

        Of each quality `chunk_seconds`, `hop_seconds` and `work`: how often each
        second is computed.
        """
        hops, found = HOPS_PER_CHUNK[self.crossfade], {}
        for name, options in self.qualities.items():
            chunk = options.get("chunk_seconds", self.chunk_seconds)
            hop = options.get("hop_seconds", chunk / hops)
            found[name] = {
                "chunk_seconds": chunk,
                "hop_seconds": hop,
                "work": chunk / hop,
                "shifts": options.get("shifts", 0),
            }
        return {
            "name": self.name,
            "description": self.description,
            "licence": self.licence,
            "stems": self.stems,
            "bytes": self.bytes,
            "qualities": found,
            "deliverables": self.deliverables,
            "extras": self.extras,
        }


_CHUNKS = {  # defaults of classes, where a preset does not give them
    "MRXAudioSeparator": (30.0, "middle"),
    "OpenUnmixAudioSeparator": (42.0, "middle"),
    "HybridDemucsAudioSeparator": (10.0, "triangle"),
    "HTDemucsAudioSeparator": (7.8, "triangle"),
    "DemucsBag": (10.0, "triangle"),
}


def _chunks(kind, config):
    """`(chunk_seconds, crossfade)` of a separator of a class."""
    chunk, crossfade = _CHUNKS.get(kind, (6.0, "hann"))
    chunk = config.get("chunk_seconds") or chunk
    return chunk, config.get("crossfade") or crossfade


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
        *_chunks(preset.model, preset.separator),
    )


def _directory(path):
    from keras_bandit.inference.engines import find_preset

    folder = pathlib.Path(find_preset(path))
    exported, task = folder / "separator.json", folder / "task.json"
    if exported.exists():
        config = read_json(exported)
        kind = config["model"]
    else:
        kind, config = (read_json(task)[n] for n in ("class_name", "config"))
    about = {}
    if (folder / "metadata.json").exists():
        about = read_json(folder / "metadata.json").get("keras_bandit") or {}
    return Model(
        folder.name,
        str(folder),
        str(about.get("purpose", "")),
        str(about.get("license", "")),
        config["stems"],
        _size(folder),
        *_chunks(kind, config),
    )


def models_on_offer(named=()):
    """`{name: Model}`: those of `named`, or all built-in ones that are there.

    Args:
        named: names or directories of presets.

    Raises:
        OSError, ValueError: if one is no preset.
        ValueError: if two directories have one name.
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


def remuxes_on_offer():
    """`REMUXES`, if what writes them is installed."""
    return list(REMUXES) if importlib.util.find_spec("av") else []


def check_track(track):
    """Returns a sound track: a number, a list of those to join, or `None`."""
    numbers = track if isinstance(track, list) else [track]
    whole = all(type(n) is int and 0 < n < 1000 for n in numbers)
    if track is not None and not (whole and numbers):
        raise ValueError("track must be a number from 1 on, or a list of some")
    return track


def check_request(request, models):
    """Checks what the page sends, and fills in what it left out.

    Returns:
        dict of `model`, `stems`, `deliver`, `quality`, `format`, `extras`,
        `remux` and `track`, and nothing else.

    Raises:
        ValueError: if a value is not on offer.
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
    deliver = some_of("deliver", model.deliverables, [])
    stems = some_of("stems", model.stems, [] if deliver else model.stems)
    if not stems and not deliver:
        raise ValueError("choose at least one stem")
    remux = request.get("remux")
    return {
        "model": model.name,
        "stems": stems,
        "deliver": deliver,
        "quality": one_of("quality", list(model.qualities), "standard"),
        "format": one_of("format", list(FORMATS), "wav"),
        "extras": some_of("extras", model.extras, []),
        "remux": remux and one_of("remux", remuxes_on_offer(), None),
        "track": check_track(request.get("track")),
    }


def separation_options(request, has_picture):
    """The arguments of `separate_file` for a checked request, a dict.

    Without those of its quality: see `Model.qualities`.
    """
    extras = request["extras"]
    return {
        "stems": request["stems"],
        "deliver": request["deliver"],
        "residual": "residual" in extras,
        "report": "report" in extras,
        "markers": list(MARKERS) if "markers" in extras else [],
        "remux": request["remux"] if has_picture else None,
        "audio_track": request["track"],
        **FORMATS[request["format"]],
    }
