"""A separator whose core runs on an engine without Keras."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import tempfile
import warnings
from typing import TYPE_CHECKING

import numpy as np

from keras_bandit.common.cache import cache_directory
from keras_bandit.common.checks import check_choice, check_some
from keras_bandit.export.description import (
    HOW_TO_SEPARATE,
    MODEL_FILES,
    VERSION,
    DamagedExportError,
    is_exported_core,
    read_description,
)
from keras_bandit.inference.engines import find_preset
from keras_bandit.inference.runtimes import RUNTIMES
from keras_bandit.models.core_transforms import make_transforms
from keras_bandit.models.presets import (
    PRESETS,
    is_preset_directory,
    weights_directory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Self

    from keras_bandit.common.types import AnyPath, Config, Tensor
    from keras_bandit.models.separator import AudioSeparator


class CoreSeparator:
    """Stands in for an `AudioSeparator` in `separate`, without Keras.

    The transforms are computed in NumPy; what lies between them, the core, by
    the engine, from what `export_core` wrote. In float32 the estimates are
    Keras's to about 1e-6 of their peak. In bfloat16 products and recurrences
    are rounded, as their inputs are: some 44 dB below the estimates.

    The weights are a copy: training the Keras model afterwards does not
    change them. One instance is not for several threads at once: its buffers
    are those of the last call. `with_stems` gives each thread its own.

    Example:

    ```python
    separator = keras_bandit.inference.CoreSeparator.from_preset("bandit_demo")
    mixture = np.zeros((1, 2, 44100), "float32")  # (batch, channels, samples)
    separator.predict_on_batch(mixture)["speech"].shape  # (1, 2, 44100)
    ```

    Args:
        core: path of a core's file, or the content of an ONNX file as bytes;
            see `from_directory`, `from_separator` and `from_preset`.
        description: dict, the content of `separator.json`.
        engine: `"openvino"` or `"onnxruntime"`.
        precision: `"float32"`, or with OpenVINO `"bfloat16"`.
        cache_dir: directory for cores compiled by OpenVINO, made if it does
            not exist, or `None`. A core from there loads in about half the
            time; each takes as much space as its weights.

    Raises:
        ValueError: for another engine or precision, or bfloat16 on a processor
            without it.
        ImportError: if the engine cannot be imported.
    """

    def __init__(
        self,
        core: AnyPath | bytes,
        description: Config,
        engine: str = "openvino",
        precision: str = "float32",
        cache_dir: AnyPath | None = None,
    ) -> None:
        check_choice("engine", engine, RUNTIMES)
        runtime = RUNTIMES[engine]
        if precision not in runtime.precisions:
            raise ValueError(
                f"precision must be one of {runtime.precisions} with engine "
                f"{engine!r}; got {precision!r}"
            )
        if description["format"] not in runtime.formats:
            raise ValueError(
                f"engine {engine} reads the formats {runtime.formats}; got "
                f"{description['format']!r}"
            )
        self.core = core
        self.description = description
        self.engine = engine
        self.precision = precision
        self.cache_dir = cache_dir
        self.stems = list(description["stems"])
        self.sample_rate = description["sample_rate"]
        self.num_channels = description["num_channels"]
        self.chunk_seconds = description["chunk_seconds"]
        self.min_samples = description["min_samples"]
        self.silent_in_silent_out = description["silent_in_silent_out"]
        for name, default in HOW_TO_SEPARATE.items():
            setattr(self, name, description.get(name, default))
        self.metadata = description["metadata"]
        self._transforms = make_transforms(self.stems, description)
        outputs = list(self._transforms.outputs)
        self._core = runtime(core, outputs, precision, cache_dir)

    @classmethod
    def from_directory(cls, directory: AnyPath, **kwargs: Any) -> Self:
        """Opens what `export_core` wrote; `**kwargs` are of the class.

        Raises:
            ValueError: if it does not hold a core, or one that the engine
                cannot read; as the class, too.
        """
        description = read_description(directory)
        core = os.path.join(directory, MODEL_FILES[description["format"]])
        with open(core, "rb"):  # not there: OSError, not a runtime's own
            pass
        return cls(core, description, **kwargs)

    @classmethod
    def from_separator(cls, separator: AudioSeparator, **kwargs: Any) -> Self:
        """Exports an `AudioSeparator` in memory; `**kwargs` are of the class.

        Raises:
            UnsupportedModelError: if it cannot be exported.
        """
        from keras_bandit.export.exporting import core_bytes, describe

        core = core_bytes(separator)
        return cls(core, describe(separator, "onnx"), **kwargs)

    @classmethod
    def from_preset(
        cls,
        preset: AnyPath,
        load: Callable | None = None,
        note: Callable[[str], Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Opens a preset's core, without Keras if it was exported before.

        A core that does not ship with the preset is exported with Keras, and
        kept in the user's cache directory (`core_cache`) as long as the
        preset's files are the same.

        Args:
            preset: directory, name with trained weights, or `hf://…`.
            load: function that loads the Keras model of a path; `None`:
                `AudioSeparator.from_preset`.
            note: function that is given a line if the core cannot be kept;
                `None`: it is a `RuntimeWarning`.
            **kwargs: of the class.

        Raises:
            ValueError: if there is no such preset; as the class, too.
            UnsupportedModelError: if the model cannot be exported.
        """
        folder = find_preset(preset)
        remote = "://" in folder
        found = None if remote else find_core(folder)
        if found is not None:
            try:
                return cls.from_directory(found, **kwargs)
            except (DamagedExportError, FileNotFoundError):
                if found == folder:
                    raise
                # In the cache it is written anew.
                shutil.rmtree(found, ignore_errors=True)
        if load is None:
            from keras_bandit.models import AudioSeparator

            load = AudioSeparator.from_preset
        separator = load(folder)
        if remote:
            return cls.from_separator(separator, **kwargs)
        try:
            return cls.from_directory(keep_core(separator, folder), **kwargs)
        except OSError as error:
            line = f"the exported core is not kept: {error}"
            if note is None:
                warnings.warn(line, RuntimeWarning, stacklevel=2)
            else:
                note(line)
        return cls.from_separator(separator, **kwargs)

    def with_stems(self, stems: Sequence[str]) -> Self:
        """A separator that computes these stems only, of the same core.

        Raises:
            ValueError: if there is no stem, or one that is not here.
        """
        stems = check_some("stems", stems, self.stems)
        return type(self)(
            self.core,
            {**self.description, "stems": stems},
            self.engine,
            self.precision,
            self.cache_dir,
        )

    def predict_on_batch(self, waveform: Tensor) -> dict[str, np.ndarray]:
        """`(batch, channels, samples)` to `{stem: (batch, channels, samples)}`.

        `ValueError` for other axes or channels, or too few samples for
        reflection.
        """
        waveform = np.asarray(waveform, "float32")
        shape, channels = waveform.shape, self.num_channels
        if len(shape) != 3 or 0 in shape or channels not in (None, shape[1]):
            raise ValueError(
                f"waveform must be (batch, {channels or 'channels'}, samples) "
                f"with no axis empty; got shape {shape}"
            )
        inputs, finish = self._transforms.start(waveform)
        return finish(self._core(inputs))


def core_cache():
    """Where exported cores of presets are kept."""
    return cache_directory() / "cores"


def find_core(folder):
    """Directory of a preset's exported core, or of an export itself; or `None`."""
    own = is_exported_core(folder)
    # A copied preset may hold a core that is older than its weights: only
    # that of a preset that ships is trusted.
    if own and (not is_preset_directory(folder) or _ships(folder)):
        return folder
    path = core_cache() / _checksum(folder)
    return path if is_exported_core(path) else None


def _ships(folder):
    shipped = filter(None, map(weights_directory, PRESETS))
    return pathlib.Path(folder).resolve() in {p.resolve() for p in shipped}


def keep_core(separator, folder):
    """Exports the core of a preset in `folder` to the cache; returns its path.

    `separator` was loaded from the preset. `OSError` if it cannot be written.
    """
    path = core_cache() / _checksum(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as partial:
        partial = os.path.join(partial, "core")
        separator.export_core(partial)
        if not is_exported_core(path):
            shutil.rmtree(path, ignore_errors=True)  # what a cleaner left
        try:
            os.rename(partial, path)
        except OSError:
            # Another process may have written the same in the meantime.
            if not is_exported_core(path):
                raise
    return path


def _checksum(folder):
    """SHA-256 of what a preset's model is made of, as hexadecimal str."""
    digest = hashlib.sha256(str(VERSION).encode())
    for path in sorted(pathlib.Path(folder).iterdir()):
        if path.suffix in (".h5", ".json"):
            digest.update(path.name.encode())
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
