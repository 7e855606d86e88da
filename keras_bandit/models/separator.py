"""The contract of the zoo: waveform in, one waveform per stem out."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
import tempfile
from typing import TYPE_CHECKING

import keras
import keras_hub

from keras_bandit import __version__
from keras_bandit.backend.process import without_tensorflow
from keras_bandit.common.checks import check_chunk, check_stem_names
from keras_bandit.common.files import write_json
from keras_bandit.losses import WAVEFORM
from keras_bandit.models import register_all
from keras_bandit.models.preset_files import (
    CONFIG_FILE,
    METADATA_FILE,
    TASK_FILE,
    TASK_WEIGHTS_FILE,
    building,
    check_encoder_weights,
    check_object,
    decoder_file,
    describe_object,
    find_preset_file,
    load_weights,
    read_preset_json,
    write_task,
)
from keras_bandit.models.presets import (
    PRESETS,
    find_weights,
    means_built_in,
)
from keras_bandit.models.separation_training import SeparationTraining

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Self

    import numpy as np

    from keras_bandit.common.types import AnyPath, Config, Tensor


class AudioSeparator(SeparationTraining, keras_hub.models.Task):
    """Base of all separators: waveform in, one waveform per stem out.

    Assumes no STFT, no mask and no encoder. A model is a subclass that wires
    layers from the waveform to its stems and hands both ends to this
    constructor:

    ```python
    @keras.saving.register_keras_serializable(package="my")
    class Halves(AudioSeparator):
        def __init__(self, stems, sample_rate=44100, **kwargs):
            waveform = keras.Input((None, None), name="waveform")
            estimates = {stem: waveform / len(stems) for stem in stems}
            super().__init__(
                waveform, estimates, sample_rate=sample_rate, **kwargs
            )

        def get_config(self):
            return {**super().get_config(), "sample_rate": self.sample_rate}
    ```

    `fit`, `evaluate` and `predict` take arrays, `tf.data`, grain datasets,
    `PyDataset` and PyTorch `DataLoader`: mixtures `(batch, channels,
    samples)` and targets `{stem: (batch, channels, samples)}`. A loss of
    `keras_bandit.losses` sees the waveforms and every further domain that the
    model offers, any other Keras loss the waveforms. `SNR` and `SISNR` are
    logged per stem and averaged.

    Args:
        waveform: `keras.Input` `(channels, samples)`. An open number of
            channels means that each is separated on its own.
        estimates: `{stem: KerasTensor}`, `(batch, channels, samples)`.
        domains: `{domain: {stem: KerasTensor}}`, what losses may see of the
            estimates beside waveforms, or `None`. A model that has some
            defines `domains()`, which computes the targets'.
        sample_rate: int. Rate of the audio that the model is made for, Hz.
        chunk_seconds: float. Length of the chunks of a recording that the
            model's authors separate at a time.
        min_samples: int. Shortest waveform that the model can be given.
        backbone: `keras_hub.models.Backbone`, an encoder that stems share, or
            `None`. KerasHub keeps its weights in a file of their own.
        preprocessor: applied to inputs by `fit` and `predict`, or `None`.

    Call arguments:
        waveform: `(batch, channels, samples)` float32 at `sample_rate`.

    Returns:
        `{stem: (batch, channels, samples)}` float32. For a list of one
        waveform: `{"waveform": {stem: …}, domain: {stem: …}, …}`.

    Raises:
        ValueError: if stems are not distinct names, or `chunk_seconds` is
            longer than a day or shorter than `min_samples`.
    """

    backbone_cls = None

    silent_in_silent_out = False
    """Whether silence gives silent stems, so that chunks of it need no model."""

    linked_channels = False
    """Whether an open number of channels is separated together all the same."""

    crossfade = "hann"
    """How `separate` joins chunks; see `keras_bandit.inference.crossfade`."""

    target_lufs = None
    """Loudness that `separate` brings a recording to, and its stems back."""

    normalize_recording = None
    """RMS or peak that it does the same by: `keras_bandit.common.loudness.LEVELS`."""

    standardize_recording = False
    """Whether `separate` takes a recording's mean and deviation away."""

    transition_power = 1.0
    """Exponent of the triangles that chunks are crossfaded by, if they are."""

    max_samples = None
    """Length that shorter waveforms are padded to and longer ones must not have,
    but in training; `None`: there is none. Chunks are extended to theirs."""

    def __init__(
        self,
        waveform: keras.KerasTensor,
        estimates: Mapping[str, Tensor],
        domains: Mapping[str, Mapping[str, Tensor]] | None = None,
        *,
        sample_rate: int,
        chunk_seconds: float = 6.0,
        min_samples: int = 1,
        backbone: keras_hub.models.Backbone | None = None,
        preprocessor: Any = None,
        **kwargs: Any,
    ) -> None:
        check_stem_names(list(estimates))
        check_chunk(chunk_seconds, sample_rate, min_samples)
        self.backbone = backbone
        self.preprocessor = preprocessor
        super().__init__(
            inputs=waveform,
            outputs={WAVEFORM: estimates, **(domains or {})},
            **kwargs,
        )
        self.stems = list(estimates)
        self.sample_rate = sample_rate
        self.num_channels = waveform.shape[1]
        self.chunk_seconds = chunk_seconds
        self.min_samples = min_samples
        self.metadata = {}

    def domains(
        self, waveforms: Mapping[str, Tensor]
    ) -> dict[str, dict[str, Tensor]]:
        """Targets in the domains that losses see beside waveforms.

        `{stem: (batch, channels, samples)}` to `{domain: {stem: tensor}}`,
        with the domains of the constructor.
        """
        return {}

    def check_has(self, stems: Sequence[str]) -> None:
        """Raises `ValueError` if one of the stems is not this separator's."""
        unknown = [stem for stem in stems if stem not in self.stems]
        if unknown:
            raise ValueError(
                f"stems must be among {list(self.stems)}; got {unknown}"
            )

    def with_stems(self, stems: Sequence[str]) -> AudioSeparator:
        """A separator that computes these stems only.

        Weights are shared with this one, not copied.

        Args:
            stems: list of str.

        Returns:
            separator, not compiled.

        Raises:
            ValueError: if a stem is unknown here.
        """
        return StemSelection(self, stems)

    def core_model(self) -> keras.Model:
        """What lies between the transforms, for engines without Keras.

        A model that has one says with `core_transforms()` what stands around
        it; see `keras_bandit.models.core_transforms`.

        Returns:
            `keras.Model` of real tensors, inputs in the order of the
            transforms' and outputs by their names.

        Raises:
            ValueError: this kind of model has none.
        """
        raise ValueError(
            f"a {type(self).__name__} has no core; the formats saved_model and "
            "litert hold whole models"
        )

    def core_transforms(self) -> dict[str, Config]:
        """What stands around the core: `{key of TRANSFORMS: arguments}`."""
        raise NotImplementedError

    def export_core(
        self, directory: AnyPath, format: str = "onnx", **kwargs: Any
    ) -> None:
        """Writes this model for an engine without Keras.

        See `keras_bandit.export.export_core`.
        """
        # Export stands above models; only a call reaches up to it.
        from keras_bandit.export import export_core

        return export_core(self, directory, format, **kwargs)

    def separate(
        self, audio: Any, sample_rate: int, **kwargs: Any
    ) -> dict[str, np.ndarray]:
        """Separates audio of any length, rate and number of channels.

        See `keras_bandit.inference.separate`.
        """
        # As above.
        from keras_bandit.inference import separate

        return separate(self, audio, sample_rate, **kwargs)

    def count_params(self) -> int:
        """How many parameters are trained or could be, int.

        Running statistics of a normalization are none.
        """
        return sum(
            math.prod(weight.shape)
            for layer in self._flatten_layers()
            for weight in layer._trainable_variables
        )

    def describe(self) -> dict[str, str]:
        """What this model is, for people: `{label: text}`."""
        return {
            "class": type(self).__name__,
            "stems": ", ".join(self.stems),
            "rate": f"{self.sample_rate} Hz",
            "channels": str(self.num_channels or "any number"),
            "parameters": f"{self.count_params():,}",
        }

    # Presets

    def get_config(self) -> Config:
        config = super().get_config()
        if self.backbone is None:
            del config["backbone"]
        return {
            **config,
            "stems": list(self.stems),
            "chunk_seconds": self.chunk_seconds,
        }

    def stem_parts(self) -> Mapping[str, keras.Model]:
        """`{stem: keras.Model}`, parts that are saved in files of their own."""
        return {}

    def _saved_elsewhere(self):
        """Layers whose weights are not in `task.weights.h5`."""
        parts = [self.backbone, *self.stem_parts().values()]
        return [x for part in parts if part for x in part._flatten_layers()]

    def rest_of_weights(self) -> list:
        """Weights outside the encoder and the stems' parts, as a list."""
        layers = self._saved_elsewhere()
        elsewhere = {id(weight) for layer in layers for weight in layer.weights}
        return [w for w in self.weights if id(w) not in elsewhere]

    def has_task_weights(self) -> bool:
        """Whether there are weights outside `backbone`; KerasHub asks."""
        return bool(self.stem_parts() or self.rest_of_weights())

    def save_task_weights(self, filepath: AnyPath) -> None:
        """Writes all weights outside `backbone` beside and into `filepath`."""
        folder = os.path.dirname(os.fspath(filepath))
        for stem, part in self.stem_parts().items():
            part.save_weights(os.path.join(folder, decoder_file(stem)))
        if self.rest_of_weights():
            keras.saving.save_weights(
                self, filepath, objects_to_skip=self._saved_elsewhere()
            )

    def load_task_weights(self, filepath: AnyPath) -> None:
        """Reads the weights outside `backbone` and the stems' parts."""
        load_weights(self, filepath, self._saved_elsewhere())

    def save_to_preset(
        self, preset_dir: AnyPath, max_shard_size: float = 10
    ) -> None:
        """Writes a preset directory, one weights file per stem's part.

        Args:
            preset_dir: path, made if it does not exist. Files of an earlier
                preset there are replaced once all new ones are complete.
            max_shard_size: number, GB above which the encoder is sharded.
        """
        preset_dir = os.path.abspath(os.fspath(preset_dir))
        parent = os.path.dirname(preset_dir)
        os.makedirs(parent, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=".") as partial:
            if self.backbone is None:
                write_task(self, partial)
            else:
                super().save_to_preset(partial, max_shard_size=max_shard_size)
            path = os.path.join(partial, METADATA_FILE)
            with open(path) as file:
                metadata = json.load(file)
            metadata["keras_bandit_version"] = __version__
            metadata["keras_bandit"] = self.metadata
            write_json(path, metadata)
            written = sorted(os.listdir(partial))
            os.makedirs(preset_dir, exist_ok=True)
            for name in written:
                target = os.path.join(preset_dir, name)
                os.replace(os.path.join(partial, name), target)
        own = f"{decoder_file('.*')}|{re.escape(TASK_WEIGHTS_FILE)}"
        for name in set(os.listdir(preset_dir)) - set(written):
            if re.fullmatch(own, name):
                os.remove(os.path.join(preset_dir, name))

    @classmethod
    def from_preset(
        cls, preset: AnyPath, load_weights: bool = True, **kwargs: Any
    ) -> Self:
        """Makes a separator from a preset.

        Args:
            preset: name of a built-in architecture or of weights (see
                `keras_bandit.list_presets`; architectures have initial weights,
                released ones are fetched on first use and kept); a directory
                written by `save_to_preset`, which goes before a name; or a
                handle such as `hf://user/model`.
            load_weights: bool. `False`: initial weights.
            **kwargs: override the preset's configuration; `stems=["speech"]`
                loads that decoder alone, `dtype` sets the dtype policy.

        Returns:
            separator of the preset's class.

        Raises:
            OSError: if released weights cannot be fetched.
            ValueError: if the preset is unknown, of another class, damaged,
                or lacks a stem that was asked for.
        """
        register_all()
        preset = os.fspath(preset)
        if means_built_in(preset):
            weights = find_weights(preset) if load_weights else None
            if weights is None:
                return cls._from_architecture(preset, **kwargs)
            preset = str(weights)
        remote = "://" in preset
        if not remote and not os.path.isdir(preset):
            raise ValueError(
                f"preset must be a name of keras_bandit.list_presets(), a "
                f"directory or a handle such as hf://user/model; got {preset!r}"
            )
        # To find out that a path is local KerasHub would import TensorFlow.
        with contextlib.nullcontext() if remote else without_tensorflow():
            return cls._from_files(preset, load_weights, **kwargs)

    @classmethod
    def _from_files(cls, preset, load, **kwargs):
        task = read_preset_json(preset, TASK_FILE)
        found = check_object(task, cls, f"{preset}/{TASK_FILE}")
        config = read_preset_json(preset, CONFIG_FILE)
        check_object(config, keras.Model, f"{preset}/{CONFIG_FILE}")
        with building(preset):
            if "backbone" in task["config"]:
                if load and "://" not in preset:
                    check_encoder_weights(preset)
                # For `cls` KerasHub would take any class with this backbone.
                separator = super(AudioSeparator, found).from_preset(
                    preset, load, **kwargs
                )
            else:
                task["config"] |= kwargs
                separator = keras.saving.deserialize_keras_object(task)
                rest = find_preset_file(
                    preset, TASK_WEIGHTS_FILE, optional=True
                )
                if load and rest:
                    separator.load_task_weights(rest)
            metadata = read_preset_json(preset, METADATA_FILE)
            separator.metadata = dict(metadata.get("keras_bandit", {}))
        if load:
            for stem, part in separator.stem_parts().items():
                load_weights(part, find_preset_file(preset, decoder_file(stem)))
        return separator

    @classmethod
    def _from_architecture(cls, name, dtype=None, **kwargs):
        entry = PRESETS[name]
        found = keras.saving.get_registered_object(
            f"keras_bandit>{entry.model}"
        )
        if not issubclass(found, cls):
            raise ValueError(
                f"preset {name!r} is a {found.__name__}, not a {cls.__name__}"
            )
        return found.from_architecture(
            entry.backbone, {**entry.separator, **kwargs}, dtype
        )

    @classmethod
    def from_architecture(
        cls, backbone: Config, separator: Config, dtype: Any = None
    ) -> Self:
        """Makes a separator with initial weights from plain arguments.

        Args:
            backbone: dict, arguments of `backbone_cls`; without one, ignored.
            separator: dict, the other arguments.
            dtype: dtype policy or `None`.
        """
        if cls.backbone_cls is None:
            return cls(**separator, dtype=dtype)
        return cls(cls.backbone_cls(**backbone, dtype=dtype), **separator)


@keras.saving.register_keras_serializable(package="keras_bandit")
class StemSelection(AudioSeparator):
    """Some stems of a separator whose stems are not made of parts.

    The graph is that of the other `separator`, ending earlier.
    """

    def __init__(
        self, separator: AudioSeparator, stems: Sequence[str], **kwargs: Any
    ) -> None:
        check_stem_names(stems)
        separator.check_has(stems)
        outputs = separator._outputs_struct
        domains = {
            name: {stem: values[stem] for stem in stems if stem in values}
            for name, values in outputs.items()
        }
        # An attribute would be a second part of this model.
        self._whole = functools.partial(lambda x: x, separator)
        super().__init__(
            separator.input,
            domains.pop(WAVEFORM),
            domains,
            sample_rate=separator.sample_rate,
            min_samples=separator.min_samples,
            preprocessor=separator.preprocessor,
            **{"chunk_seconds": separator.chunk_seconds, **kwargs},
        )
        for name in (
            "silent_in_silent_out",
            "linked_channels",
            "crossfade",
            "target_lufs",
            "normalize_recording",
            "standardize_recording",
            "transition_power",
            "max_samples",
        ):
            setattr(self, name, getattr(separator, name))
        self.metadata = dict(separator.metadata)

    def domains(
        self, waveforms: Mapping[str, Tensor]
    ) -> dict[str, dict[str, Tensor]]:
        return self._whole().domains(waveforms)

    def with_stems(self, stems: Sequence[str]) -> AudioSeparator:
        check_stem_names(stems)
        self.check_has(stems)
        return self._whole().with_stems(stems)

    def core_model(self) -> keras.Model:
        return self._whole().core_model()

    def core_transforms(self) -> dict[str, Config]:
        return self._whole().core_transforms()

    def get_config(self) -> Config:
        config = super().get_config()
        del config["preprocessor"]
        return {**config, "separator": describe_object(self._whole())}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        whole = keras.saving.deserialize_keras_object(config["separator"])
        return cls(**{**config, "separator": whole})
