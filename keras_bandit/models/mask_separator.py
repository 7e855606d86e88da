"""Separators that multiply the mixture's spectrogram by a mask per stem."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

import keras

from keras_bandit.common.checks import check_choice, check_stem_names
from keras_bandit.common.files import complete_files
from keras_bandit.common.loudness import LEVELS
from keras_bandit.layers import (
    ISTFT,
    STFT,
    ApplyMask,
    StandardizeSpectrogram,
)
from keras_bandit.losses import SPECTROGRAM
from keras_bandit.models.preset_files import load_weights
from keras_bandit.models.separator import AudioSeparator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Self

    from keras_bandit.common.types import AnyPath, Config, Tensor


def apply_masks(
    stft, spectrogram, masks, waveform, post_filter=None, more_domains=None
):
    """The end of a graph: `{stem: waveform}` and `{domain: {stem: tensor}}`.

    `stft` is the layer that made the mixture's `spectrogram` of `waveform`;
    `post_filter` and `more_domains` are those of `MaskSeparator`.
    """
    spectrograms = {
        stem: ApplyMask(name=f"{stem}_masking")(spectrogram, mask)
        for stem, mask in masks.items()
    }
    domains = more_domains(spectrograms) if more_domains else {}
    if post_filter is not None:
        spectrograms = post_filter(spectrogram, masks)
    waveforms = {
        # Named like the stem: Keras names the output after its layer.
        stem: ISTFT(stft.n_fft, stft.hop_length, name=stem)(x, waveform)
        for stem, x in spectrograms.items()
    }
    return waveforms, {SPECTROGRAM: spectrograms, **domains}


class MaskSeparator(AudioSeparator):
    """STFT, a core from spectrogram to masks, complex masking, ISTFT.

    A subclass wires the core, with a `keras.Model` for what serves one stem
    alone (`decoders`), and takes `stems` and `decoders` as arguments: stems
    without a decoder there get a new one. Losses see the masked spectrograms
    as the domain `"spectrogram"`: the authors of BandIt compare those, not
    the transform of the resynthesized waveform.

    Example:

    ```python
    class DenseMasks(keras_bandit.MaskSeparator):
        def __init__(self, stems, decoders=None, **kwargs):
            spectrogram = keras.Input((None, None, 33, 2))
            decoders = {
                stem: (decoders or {}).get(stem)
                or keras.Sequential([keras.layers.Dense(2)])
                for stem in stems
            }
            masks = {s: decoders[s](spectrogram) for s in stems}
            super().__init__(
                spectrogram,
                masks,
                decoders=decoders,
                hop_length=16,
                pad_mode="constant",
                sample_rate=8000,
                **kwargs,
            )

        def get_config(self):
            config = super().get_config()
            return {k: config[k] for k in ("name", "stems", "chunk_seconds")}


    separator = DenseMasks(["speech"]).add_decoder("music")
    separator(np.zeros((1, 2, 800), "float32"))["music"].shape  # (1, 2, 800)
    ```

    Args:
        spectrogram: `keras.Input` `(channels, frames, bins, 2)` of the core.
        masks: `{stem: KerasTensor}`, complex masks of the spectrogram's
            shape.
        decoders: `{stem: keras.Model}`, parts of the core.
        hop_length: int. Samples between frames of the STFT; frames have
            `2 * (bins - 1)`.
        pad_mode, extra_frame: see `STFT`.
        post_filter: function of the mixture's spectrogram and `{stem: mask}`
            to `{stem: spectrogram}`, in place of masking; or `None`.
        more_domains: function of `{stem: masked spectrogram}` to `{domain:
            {stem: tensor}}`, what losses may see beside; or `None`.
        normalize_recording: `"rms"`, `"peak"`, `"rms_peak"` or `None`. Level
            that `separate` brings a whole recording to, and its stems back;
            see `keras_bandit.common.loudness.LEVELS`. `fit` takes mixtures as
            they come.
        standardize_spectrogram: bool. Whether the network sees the
            spectrogram of each chunk with its mean taken away and its
            deviation divided out (`StandardizeSpectrogram`). Masks multiply
            the mixture's own, so that nothing has to be undone.
        **kwargs: of `AudioSeparator`: `sample_rate`, `chunk_seconds`,
            `backbone`, `preprocessor`, `name`.

    Call arguments, returned values: as `AudioSeparator`.

    Raises:
        ValueError: as `AudioSeparator` and `STFT`, or for another level.
    """

    silent_in_silent_out = True

    def __init__(
        self,
        spectrogram: keras.KerasTensor,
        masks: Mapping[str, Tensor],
        *,
        decoders: Mapping[str, keras.Model],
        hop_length: int,
        pad_mode: str,
        extra_frame: bool = True,
        post_filter: Callable | None = None,
        more_domains: Callable | None = None,
        normalize_recording: str | None = None,
        standardize_spectrogram: bool = False,
        **kwargs: Any,
    ) -> None:
        if normalize_recording is not None:
            check_choice("normalize_recording", normalize_recording, LEVELS)
        # === Layers ===
        _, channels, _, bins, _ = spectrogram.shape
        n_fft = 2 * (bins - 1)
        stft = STFT(n_fft, hop_length, pad_mode, extra_frame, name="stft")
        core = keras.Model(
            spectrogram,
            {f"mask_{stem}": mask for stem, mask in masks.items()},
            name="core",
        )
        if standardize_spectrogram:
            linked = channels is not None or self.linked_channels
            standardize = StandardizeSpectrogram(linked, name="standardize")
            entrance = keras.Input(spectrogram.shape[1:], name="spectrogram")
            core = keras.Model(
                entrance, core(standardize(entrance)), name="core"
            )
        # === Functional model ===
        waveform = keras.Input((channels, None), name="waveform")
        mixture = stft(waveform)  # (batch, channels, frames, bins, 2)
        outputs = core(mixture)  # once: each call would compute it again
        masks = {stem: outputs[f"mask_{stem}"] for stem in masks}
        waveforms, domains = apply_masks(
            stft, mixture, masks, waveform, post_filter, more_domains
        )
        super().__init__(
            waveform,
            waveforms,
            domains,
            min_samples=n_fft,
            **kwargs,
        )
        # === Config ===
        self.core = core
        self.stft = stft
        self.decoders = decoders
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.pad_mode = pad_mode
        self.normalize_recording = normalize_recording
        self.standardize_spectrogram = standardize_spectrogram
        # An attribute would be tracked: the layers are in the graph already.
        object.__setattr__(self, "_more_domains", more_domains)

    def network_input(self, waveform: Tensor) -> Tensor:
        """What encoders see of a waveform, a spectrogram."""
        spectrogram = self.stft(waveform)
        if self.standardize_spectrogram:
            spectrogram = self.core.get_layer("standardize")(spectrogram)
        return spectrogram

    def core_model(self) -> keras.Model:
        """What lies between the transforms, for engines without Keras.

        Returns:
            `keras.Model` of real tensors, `spectrogram (batch, channels,
            frames, bins, 2)` to `{"mask_<stem>": mask of that shape}`.
        """
        return self.core

    def core_transforms(self) -> dict[str, Config]:
        stft = {
            "n_fft": self.n_fft,
            "hop_length": self.hop_length,
            "pad_mode": self.pad_mode,
        }
        if not self.stft.extra_frame:
            stft["extra_frame"] = False
        return {"stft": stft}

    def domains(
        self, waveforms: Mapping[str, Tensor]
    ) -> dict[str, dict[str, Tensor]]:
        spectrograms = {s: self.stft(x) for s, x in waveforms.items()}
        more = self._more_domains(spectrograms) if self._more_domains else {}
        return {SPECTROGRAM: spectrograms, **more}

    def stem_parts(self) -> Mapping[str, keras.Model]:
        return self.decoders

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "hop_length": self.hop_length,
            "pad_mode": self.pad_mode,
            "normalize_recording": self.normalize_recording,
            "standardize_spectrogram": self.standardize_spectrogram,
        }

    # Stems

    def _like(self, decoders, **changed):
        """A separator of this class and these arguments, other decoders.

        Layers outside encoder and decoders, which a subclass may have, get
        the values of this one's.
        """
        config = self.get_config()
        del config["name"]
        if self.backbone is not None:
            config["backbone"] = self.backbone
        config["preprocessor"] = self.preprocessor
        config |= {"stems": list(decoders), "decoders": decoders, **changed}
        separator = type(self).from_config(config)
        rest = separator.rest_of_weights()
        for old, new in zip(self.rest_of_weights(), rest, strict=True):
            new.assign(old)
        separator.metadata = dict(self.metadata)
        return separator

    def with_stems(self, stems: Sequence[str]) -> AudioSeparator:
        check_stem_names(stems)
        self.check_has(stems)
        return self._like({stem: self.decoders[stem] for stem in stems})

    def add_decoder(
        self, stem: str, decoder: keras.Model | None = None
    ) -> Self:
        """A separator of the same class with one more stem, not compiled.

        Encoder and the other decoders are shared with this one, which stays
        as it is: a functional model cannot change its graph.

        Args:
            stem: str. Name of the new output.
            decoder: `keras.Model` as in `decoders`, or `None` for a new one
                with initial weights.

        Raises:
            ValueError: if the stem has a decoder already.
        """
        if stem in self.decoders:
            raise ValueError(
                f"stem must be new; got {stem!r}, which has a decoder already"
            )
        check_stem_names([*self.stems, stem])
        return self._like({**self.decoders, stem: decoder})

    def save_decoder(self, stem: str, path: AnyPath) -> None:
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

    def load_decoder(self, stem: str, path: AnyPath) -> Self:
        """Reads one decoder's weights, for a stem that is new if need be.

        Args:
            stem: str. May differ from the name it was saved under.
            path: a file of `save_decoder`.

        Returns:
            this separator; for a new stem one of `add_decoder`.

        Raises:
            ValueError: if the file's weights have other shapes; nothing is
                changed then.
        """
        known = stem in self.decoders
        separator = self if known else self.add_decoder(stem)
        load_weights(separator.decoders[stem], path)
        return separator
