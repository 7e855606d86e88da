"""The task: waveform in, one waveform per stem out."""

import json
import os
import pathlib
import re
import tempfile

import keras
import keras_hub

from keras_bandit.common.files import complete_files
from keras_bandit.layers import STFT
from keras_bandit.losses import WAVEFORM
from keras_bandit.models import register_all
from keras_bandit.models.decoder import (
    build_decoder,
    decoder_file,
    load_decoder_weights,
)
from keras_bandit.models.preset_files import (
    METADATA_FILE,
    find_preset_file,
    move_files,
)
from keras_bandit.models.presets import (
    PRESETS,
    means_built_in,
    weights_directory,
)
from keras_bandit.models.separation_training import (
    SeparationTraining,
    apply_masks,
)

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


class AudioSeparator(SeparationTraining, keras_hub.models.Task):
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
        ValueError: if stems are not distinct names, or `hop_length`,
            `pad_mode` or `mlp_dim` are not as `STFT` and decoders take them.
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
        masks = {s: decoder(features[s]) for s, decoder in decoders.items()}
        domains = apply_masks(stft, spectrogram, masks, waveform)
        self.backbone = backbone
        self.preprocessor = preprocessor
        super().__init__(inputs=waveform, outputs=domains[WAVEFORM], **kwargs)
        # === Config ===
        self.stems = list(stems)
        self.decoders = decoders
        self.stft = stft
        self.hop_length = hop_length
        self.pad_mode = pad_mode
        self.mlp_dim = mlp_dim
        self.metadata = {}
        self.keep_domains(waveform, domains)

    @property
    def sample_rate(self):
        """Sampling rate the bands were made for, Hz."""
        return self.backbone.sample_rate

    @property
    def num_channels(self):
        """Channels of the input; `None`: any number, each on its own."""
        return self.backbone.num_channels

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
        self.check_has(stems)
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
        self.check_has([stem])
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

    def check_has(self, stems):
        """Raises `ValueError` if one of the stems has no decoder."""
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
        self.check_has([stem])
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
                list_presets`; initial weights, but for `bandit_demo`); a
                directory written by `save_to_preset`, which goes before a
                name; or a handle such as `hf://user/model`.
            load_weights: bool. `False`: initial weights.
            **kwargs: override the preset's configuration; `stems=["speech"]`
                loads that decoder alone, `dtype` sets the dtype policy.

        Returns:
            separator of the preset's class.

        Raises:
            ValueError: if the preset is unknown, of another class, or lacks
                a stem that was asked for.
        """
        register_all()
        preset = os.fspath(preset)
        if means_built_in(preset):
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
