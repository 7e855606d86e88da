"""The task: waveform in, one waveform per stem out."""

import contextlib
import functools
import json
import os
import pathlib
import re
import tempfile
import warnings

import keras
import keras_hub
from keras import ops

from keras_bandit.backend.interruption import keeps_variables
from keras_bandit.backend.optimizers import build_optimizer
from keras_bandit.backend.predictions import (
    predict_on_batch,
    predict_untraced,
    tracing_pays_off,
)
from keras_bandit.files import complete_files
from keras_bandit.layers import (
    ISTFT,
    STFT,
    ApplyMask,
    MaskDecoder,
    OverlapRecombine,
)
from keras_bandit.losses import (
    SPECTROGRAM,
    WAVEFORM,
    SeparationLoss,
    check_stems,
)
from keras_bandit.metrics import SeparationMetric
from keras_bandit.models.grain_datasets import as_steps
from keras_bandit.models.preset_files import (
    METADATA_FILE,
    find_preset_file,
    move_files,
)
from keras_bandit.presets import PRESETS, weights_directory

STEM_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def check_stem_names(stems):
    """Raises `ValueError` unless stems are distinct names."""
    if isinstance(stems, str) or not len(stems):
        raise ValueError(
            f"stems must be a list of one name or more; got {stems!r}"
        )
    for stem in stems:
        if not isinstance(stem, str) or not STEM_NAME.fullmatch(stem):
            raise ValueError(
                "stems must be names of letters, digits, '_' and '-' that "
                f"start with a letter; got {stem!r}"
            )
    if len(set(stems)) < len(stems):
        raise ValueError(f"stems must be distinct; got {list(stems)}")


def build_decoder(backbone, stem, mlp_dim):
    """One stem's decoder, features to mask, as a model of its own.

    Args:
        backbone: the encoder whose features it reads.
        stem: str.
        mlp_dim: int. Units of the hidden layer.

    Returns:
        `keras.Model`, `(batch, bands, frames, embed_dim)` to `(batch,
        channels, frames, bins, 2)`.
    """
    bands = backbone.decoder_bands(stem)
    channels = backbone.num_channels or 1
    # Layer names are the same for every stem, so that weights saved for one
    # can be loaded for another.
    features = keras.Input(
        (len(bands), None, backbone.embed_dim), name="features"
    )
    # Variables need paths of their own: the torch backend finds them by path,
    # and would zero the gradients of one stem only.
    with keras.name_scope(f"{stem}_decoder"):
        masks = MaskDecoder(
            bands,
            mlp_dim,
            num_channels=channels,
            dtype=backbone.dtype_policy,
            name="mask_decoder",
        )(features)
    mask = OverlapRecombine(
        bands,
        backbone.n_fft // 2 + 1,
        num_channels=channels,
        name="overlap_recombine",
    )(masks)
    return keras.Model(features, mask, name=f"{stem}_decoder")


def decoder_file(stem):
    """Name of a stem's weights file in a preset directory."""
    return f"decoder_{stem}.weights.h5"


def load_decoder_weights(decoder, path):
    """Reads a decoder's weights file, all of it or nothing.

    Raises:
        ValueError: if the file does not fit; the decoder is as it was.
    """
    former = decoder.get_weights()
    try:
        with warnings.catch_warnings():
            # On a mismatch Keras warns of layers it skips, then raises.
            warnings.simplefilter("ignore", UserWarning)
            decoder.load_weights(os.fspath(path))
    except ValueError as error:
        decoder.set_weights(former)
        shapes = [tuple(weight.shape) for weight in decoder.weights]
        raise ValueError(
            f"{os.fspath(path)!r} does not fit {decoder.name}, whose weights "
            f"have shapes {shapes}: {error}"
        ) from error


def packages_of(x):
    """Names of the packages that an object's class and its bases come from."""
    return {base.__module__.partition(".")[0] for base in type(x).__mro__}


def is_dataset(x):
    """Whether `x` brings its own order: `tf.data`, grain, `DataLoader`."""
    packages = {"tensorflow", "grain", "torch"}
    return bool(packages_of(x) & packages) and not hasattr(x, "shape")


class AudioSeparator(keras_hub.models.Task):
    """Base of all separators: waveform in, one waveform per stem out.

    STFT, the shared encoder (`backbone`), one decoder per stem (`decoders`),
    complex masking and ISTFT, as a functional model. Use a subclass, or
    `AudioSeparator.from_preset`, which finds the right one.

    With `compile(loss=L1SNR())` the loss is given the masked spectrograms
    beside the waveforms, as the authors train. Any other Keras loss sees the
    waveforms. `SNR` and `SISNR` are logged per stem and averaged.
    `fit`, `evaluate` and `predict` take arrays, `tf.data`, grain datasets,
    `PyDataset` and PyTorch `DataLoader`: mixtures `(batch, channels,
    samples)` and targets `{stem: (batch, channels, samples)}`.

    Args:
        backbone: the encoder, `BanditBackbone` or `BSRNNBackbone`.
        stems: list of str. Names of the outputs.
        hop_length: int. Samples between frames of the STFT.
        pad_mode: `"constant"` or `"reflect"`; see `STFT`.
        mlp_dim: int. Units of the hidden layer of decoders made here.
        decoders: `{stem: keras.Model}` to attach, or `None`. Stems without
            one get a new decoder with initial weights.
        preprocessor: applied to inputs by `fit` and `predict`, or `None`.

    Call arguments:
        waveform: `(batch, channels, samples)` float32 at `sample_rate`.

    Returns:
        `{stem: (batch, channels, samples)}` float32.

    Raises:
        ValueError: if stems are not distinct names.
    """

    def __init__(
        self,
        backbone,
        stems,
        hop_length=512,
        pad_mode="constant",
        mlp_dim=512,
        decoders=None,
        preprocessor=None,
        **kwargs,
    ):
        check_stem_names(stems)
        decoders = {
            stem: (decoders or {}).get(stem)
            or build_decoder(backbone, stem, mlp_dim)
            for stem in stems
        }
        stft = STFT(backbone.n_fft, hop_length, pad_mode, name="stft")
        # === Functional model ===
        waveform = keras.Input((backbone.num_channels, None), name="waveform")
        spectrogram = stft(waveform)
        features = backbone.encode(spectrogram, stems)
        spectrograms, waveforms = {}, {}
        for stem, decoder in decoders.items():
            mask = decoder(features[stem])
            spectrograms[stem] = ApplyMask(name=f"{stem}_masking")(
                spectrogram, mask
            )
            # Named like the stem: Keras names the output after its layer.
            waveforms[stem] = ISTFT(backbone.n_fft, hop_length, name=stem)(
                spectrograms[stem], waveform
            )
        self.backbone = backbone
        self.preprocessor = preprocessor
        super().__init__(inputs=waveform, outputs=waveforms, **kwargs)
        # === Config ===
        self.stems = list(stems)
        self.decoders = decoders
        self.stft = stft
        self.hop_length = hop_length
        self.pad_mode = pad_mode
        self.mlp_dim = mlp_dim
        self.metadata = {}
        # Closures, since Keras would save a second graph's layers twice.
        domains = keras.Function(
            waveform, {WAVEFORM: waveforms, SPECTROGRAM: spectrograms}
        )
        self._run_domains = functools.partial(lambda f, x: f(x), domains)

    @property
    def sample_rate(self):
        """Sampling rate the bands were made for, Hz."""
        return self.backbone.sample_rate

    @property
    def num_channels(self):
        """Channels of the input; `None`: any number, each on its own."""
        return self.backbone.num_channels

    # Training

    def call(self, inputs, training=None, mask=None):
        if getattr(self, "_in_loss_step", False):
            return self._run_domains(inputs)
        return super().call(inputs, training=training, mask=mask)

    @contextlib.contextmanager
    def _loss_step(self):
        """Inside, a call also returns the masked spectrograms."""
        object.__setattr__(self, "_in_loss_step", True)
        try:
            yield
        finally:
            object.__setattr__(self, "_in_loss_step", False)

    def train_step(self, *args, **kwargs):
        with self._loss_step():
            return super().train_step(*args, **kwargs)

    def test_step(self, *args, **kwargs):
        with self._loss_step():
            return super().test_step(*args, **kwargs)

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        metrics = metrics or []
        if not isinstance(metrics, (list, tuple)):
            metrics = [metrics] if not isinstance(metrics, dict) else metrics
        own, other = [], metrics
        if not isinstance(metrics, dict):
            own = [m for m in metrics if isinstance(m, SeparationMetric)]
            other = [m for m in metrics if not isinstance(m, SeparationMetric)]
        super().compile(
            optimizer=optimizer, loss=loss, metrics=other or None, **kwargs
        )
        own = [
            type(m).from_config({**m.get_config(), "stems": self.stems})
            for m in own
        ]
        # Not tracked: a recompiled model would keep the former metrics.
        object.__setattr__(self, "_separation_metrics", own)
        if isinstance(loss, SeparationLoss):
            # `compute_loss` calls the loss itself. Left unbuilt, Keras would
            # run the whole model symbolically before every `fit`.
            self._compile_loss.built = True

    @property
    def metrics(self):
        return [*super().metrics, *getattr(self, "_separation_metrics", [])]

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            # A file is read with the optimizer built (below), and Keras warns
            # where its variables were not saved.
            build_optimizer(self)
        own = getattr(self, "_separation_metrics", [])
        if config and own:
            own = [keras.saving.serialize_keras_object(m) for m in own]
            config["metrics"] = [*(config.get("metrics") or []), *own]
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            build_optimizer(self)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        targets = self._targets(y)
        if not isinstance(self.loss, SeparationLoss):
            y_pred = y_pred.get(WAVEFORM, y_pred)
            return super().compute_loss(
                x, targets, y_pred, sample_weight, training
            )
        targets = {
            WAVEFORM: targets,
            SPECTROGRAM: {
                stem: ops.stop_gradient(self.stft(target))
                for stem, target in targets.items()
            },
        }
        return sum(
            (self._aggregate_additional_loss(extra) for extra in self.losses),
            start=self.loss(targets, y_pred, sample_weight),
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        targets = self._targets(y)
        y_pred = y_pred.get(WAVEFORM, y_pred)
        for metric in self._separation_metrics:
            metric.update_state(targets, y_pred, sample_weight)
        return super().compute_metrics(x, targets, y_pred, sample_weight)

    def _targets(self, y):
        """The targets of this model's stems, in their order."""
        if not isinstance(y, dict):
            raise ValueError(
                f"targets must be a dict with stems {self.stems}; got "
                f"{type(y).__name__}"
            )
        check_stems(y, self.stems)
        return {stem: y[stem] for stem in self.stems}

    # KerasHub's own methods apply a preprocessor, but refuse `PyDataset`,
    # generators and `DataLoader`, and dicts of targets for one batch. Keras's
    # take all of these.

    def _keras_or_hub(self, method, x, *args, **kwargs):
        if self.preprocessor is not None:
            function = getattr(super(), method)
        else:
            function = functools.partial(getattr(keras.Model, method), self)
        with keeps_variables(self):
            return function(x, *args, **kwargs)

    def fit(self, x=None, y=None, **kwargs):
        if is_dataset(x):
            # Keras's default, True, only makes it warn.
            kwargs.setdefault("shuffle", False)
        if self.preprocessor is None:
            epochs = kwargs.get("epochs", 1)
            x, kwargs["steps_per_epoch"] = as_steps(
                x, kwargs.get("steps_per_epoch"), epochs, "steps_per_epoch"
            )
            kwargs["validation_data"], kwargs["validation_steps"] = as_steps(
                kwargs.get("validation_data"),
                kwargs.get("validation_steps"),
                epochs,
                "validation_steps",
            )
        build_optimizer(self)
        return self._keras_or_hub("fit", x, y=y, **kwargs)

    def evaluate(self, x=None, y=None, steps=None, **kwargs):
        if self.preprocessor is None:
            x, steps = as_steps(x, steps)
        return self._keras_or_hub("evaluate", x, y=y, steps=steps, **kwargs)

    def predict(self, x=None, steps=None, **kwargs):
        if self.preprocessor is None:
            x, steps = as_steps(x, steps)
        return self._keras_or_hub("predict", x, steps=steps, **kwargs)

    def train_on_batch(self, x, y=None, **kwargs):
        build_optimizer(self)
        return self._keras_or_hub("train_on_batch", x, y=y, **kwargs)

    def test_on_batch(self, x, y=None, **kwargs):
        return self._keras_or_hub("test_on_batch", x, y=y, **kwargs)

    def predict_on_batch(self, x):
        if self.preprocessor is not None:
            return self._keras_or_hub("predict_on_batch", x)
        with keeps_variables(self):
            return predict_on_batch(self, x)

    def predictor(self, calls):
        """The faster prediction function for `calls` batches of one shape.

        Args:
            calls: int. How many batches there are.

        Returns:
            `predict_on_batch`, or a function that returns the same without
            compiling. That is for the first few batches only: many
            recordings, each short, compile as well.
        """
        calls += getattr(self, "_untraced_calls", 0)
        if self.preprocessor is not None or tracing_pays_off(self, calls):
            return self.predict_on_batch
        object.__setattr__(self, "_untraced_calls", calls)
        return functools.partial(predict_untraced, self)

    # Stems

    def with_stems(self, stems):
        """A separator that computes these stems only.

        Encoder and decoders are shared with this one, not copied.

        Args:
            stems: list of str.

        Returns:
            separator of the same class, not compiled.

        Raises:
            ValueError: if a stem has no decoder here.
        """
        check_stem_names(stems)
        self._check_has(stems)
        separator = type(self)(**self._arguments_for(stems))
        separator.metadata = dict(self.metadata)
        return separator

    def add_decoder(self, stem, decoder=None):
        """Attaches a decoder for another stem to this separator.

        The graph changes, so `compile` has to be called again.

        Args:
            stem: str. Name of the new output.
            decoder: `keras.Model` as in `decoders`, or `None` for a new one
                with initial weights.

        Returns:
            this separator.

        Raises:
            ValueError: if the stem has a decoder already.
        """
        if stem in self.decoders:
            raise ValueError(
                f"stem must be new; got {stem!r}, which has a decoder already"
            )
        check_stem_names([*self.stems, stem])
        # Made before the graph is taken apart: a refused stem changes nothing.
        decoder = decoder or build_decoder(self.backbone, stem, self.mlp_dim)
        decoders = {**self.decoders, stem: decoder}
        return self._rewire([*self.stems, stem], decoders)

    def remove_decoder(self, stem):
        """Detaches a stem's decoder.

        The graph changes, so `compile` has to be called again.

        Args:
            stem: str.

        Returns:
            the decoder, a `keras.Model`.

        Raises:
            ValueError: if the stem has no decoder, or is the last one.
        """
        self._check_has([stem])
        decoder = self.decoders[stem]
        self._rewire([s for s in self.stems if s != stem], dict(self.decoders))
        return decoder

    def _rewire(self, stems, decoders):
        """Builds this object's graph anew around other stems."""
        check_stem_names(stems)
        metadata = self.metadata
        arguments = {**self._arguments(), "stems": stems, "decoders": decoders}
        # Fresh lists of layers and variables, without detached decoders'.
        for name in ("_initialized", "_tracker"):
            self.__dict__.pop(name, None)
        self.__init__(**arguments)
        self.metadata = metadata
        return self

    def _arguments(self):
        return {
            "backbone": self.backbone,
            "stems": list(self.stems),
            "hop_length": self.hop_length,
            "pad_mode": self.pad_mode,
            "mlp_dim": self.mlp_dim,
            "preprocessor": self.preprocessor,
        }

    def _arguments_for(self, stems):
        """Arguments of a separator that shares encoder and decoders."""
        return {
            **self._arguments(),
            "stems": list(stems),
            "decoders": {stem: self.decoders[stem] for stem in stems},
        }

    def _check_has(self, stems):
        unknown = [stem for stem in stems if stem not in self.decoders]
        if unknown:
            raise ValueError(
                f"stems must be among {list(self.stems)}; got {unknown}"
            )

    def save_decoder(self, stem, path):
        """Writes one decoder's weights.

        Args:
            stem: str.
            path: ends in `.weights.h5`. Appears only when complete.

        Raises:
            ValueError: if the stem has no decoder or the path another end.
        """
        self._check_has([stem])
        path = os.fspath(path)
        if not path.endswith(".weights.h5"):
            raise ValueError(f"path must end in .weights.h5; got {path!r}")
        path = pathlib.Path(path)
        with complete_files([path], overwrite=True) as temporary:
            self.decoders[stem].save_weights(temporary[path])

    def load_decoder(self, stem, path):
        """Reads one decoder's weights, attaching a decoder if there is none.

        Args:
            stem: str. May differ from the name it was saved under.
            path: a file of `save_decoder`.

        Returns:
            this separator. With a stem it had not, `compile` has to be called
            again.

        Raises:
            ValueError: if the file's weights have other shapes; a stem that
                was new is then not attached.
        """
        decoder = self.decoders.get(stem)
        if decoder is not None:
            load_decoder_weights(decoder, path)
            return self
        check_stem_names([*self.stems, stem])
        decoder = build_decoder(self.backbone, stem, self.mlp_dim)
        load_decoder_weights(decoder, path)
        return self.add_decoder(stem, decoder)

    # Presets

    def get_config(self):
        return {
            **super().get_config(),
            "stems": list(self.stems),
            "hop_length": self.hop_length,
            "pad_mode": self.pad_mode,
            "mlp_dim": self.mlp_dim,
        }

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Makes a separator from a preset.

        Args:
            preset: name of a built-in architecture (see `keras_bandit.
                list_presets`; initial weights, but for `bandit_demo`), a
                directory written by
                `save_to_preset`, or a handle such as `hf://user/model`.
            load_weights: bool. `False`: initial weights.
            **kwargs: override the preset's configuration; `stems=["speech"]`
                loads that decoder alone, `dtype` sets the dtype policy.

        Returns:
            separator of the preset's class.

        Raises:
            ValueError: if the preset is unknown, of another class, or lacks
                a stem that was asked for.
        """
        preset = os.fspath(preset)
        if preset in PRESETS:
            weights = weights_directory(preset)
            if weights is None or not load_weights:
                return cls._from_architecture(preset, **kwargs)
            preset = str(weights)
        if "://" not in preset and not os.path.isdir(preset):
            raise ValueError(
                f"preset must be a name of keras_bandit.list_presets(), a "
                f"directory or a handle such as hf://user/model; got {preset!r}"
            )
        separator = super().from_preset(preset, load_weights, **kwargs)
        if load_weights:
            for stem in separator.stems:
                path = find_preset_file(preset, decoder_file(stem))
                load_decoder_weights(separator.decoders[stem], path)
        with open(find_preset_file(preset, METADATA_FILE)) as file:
            separator.metadata = json.load(file).get("keras_bandit", {})
        return separator

    @classmethod
    def _from_architecture(cls, name, dtype=None, **kwargs):
        entry = PRESETS[name]
        found = keras.saving.get_registered_object(
            f"keras_bandit>{entry['class']}"
        )
        if not issubclass(found, cls):
            raise ValueError(
                f"preset {name!r} is a {found.__name__}, not a {cls.__name__}"
            )
        backbone = found.backbone_cls(**entry["backbone"], dtype=dtype)
        return found(backbone=backbone, **{**entry["separator"], **kwargs})

    def save_to_preset(self, preset_dir, max_shard_size=10):
        """Writes a preset directory, one weights file per stem.

        Args:
            preset_dir: path, made if it does not exist. Files of an earlier
                preset there are replaced once all new ones are complete.
            max_shard_size: number, GB above which the encoder is sharded.
        """
        preset_dir = os.path.abspath(os.fspath(preset_dir))
        parent = os.path.dirname(preset_dir)
        os.makedirs(parent, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=".") as partial:
            super().save_to_preset(partial, max_shard_size=max_shard_size)
            path = os.path.join(partial, METADATA_FILE)
            with open(path) as file:
                metadata = json.load(file)
            metadata["keras_bandit"] = self.metadata
            with open(path, "w") as file:
                json.dump(metadata, file, indent=4)
            move_files(partial, preset_dir)
        kept = {decoder_file(stem) for stem in self.stems}
        for name in os.listdir(preset_dir):
            if re.fullmatch(decoder_file(".*"), name) and name not in kept:
                os.remove(os.path.join(preset_dir, name))

    def save_task_weights(self, filepath):
        """Writes `decoder_<stem>.weights.h5` for each stem beside `filepath`."""
        folder = os.path.dirname(os.fspath(filepath))
        for stem in self.stems:
            self.save_decoder(stem, os.path.join(folder, decoder_file(stem)))

    # Separation

    def separate(self, audio, sample_rate, **kwargs):
        """Separates audio of any length, rate and number of channels.

        `keras_bandit.inference.separate` with this separator; arguments,
        returned values and errors are described there.
        """
        # Inference stands above models; only a call reaches up to it.
        from keras_bandit.inference import separate

        return separate(self, audio, sample_rate, **kwargs)
