"""Layers of MRX: masks at several resolutions, and consistency."""

import keras
from keras import ops

CONSISTENCIES = ("all", "music_sfx")


@keras.saving.register_keras_serializable(package="keras_bandit")
class SameFrames(keras.layers.Layer):
    """Gives a resolution as many frames as another one has.

    `STFT` has a frame more where its hop is half a window and the last
    samples would lie under the window's end.

    Call arguments:
        x: `(batch, channels, frames, features)`.
        other: `(batch, channels, frames, …)`.

    Returns:
        `x` with the frames of `other`; the last one is repeated or left out.
    """

    def call(self, x, other):
        frames, wanted = ops.shape(x)[2], ops.shape(other)[2]
        x = ops.concatenate([x, x[:, :, -1:]], axis=2)
        return x[:, :, : wanted if wanted is not None else frames]

    def compute_output_shape(self, x_shape, other_shape):
        return (*x_shape[:2], other_shape[2], *x_shape[3:])


@keras.saving.register_keras_serializable(package="keras_bandit")
class ApplyRealMask(keras.layers.Layer):
    """Multiplies a spectrogram by a mask of its magnitudes.

    Call arguments:
        spectrogram: `(batch, channels, frames, bins, 2)`.
        real_mask: `(batch, channels, frames, bins)`.

    Returns:
        the spectrogram's shape, float32.
    """

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, spectrogram, real_mask):
        return spectrogram * real_mask[..., None]

    def compute_output_shape(self, spectrogram_shape, real_mask_shape):
        return spectrogram_shape


@keras.saving.register_keras_serializable(package="keras_bandit")
class MixtureConsistency(keras.layers.Layer):
    """Shares out what the stems leave of the mixture.

    Args:
        mode: `"all"`: in equal parts among all stems; `"music_sfx"`: to music
            and sfx alone, in equal parts.
        stems: list of str, names of the estimates.

    Call arguments:
        estimates: list of `(batch, channels, samples)`.
        mixture: `(batch, channels, samples)`.

    Returns:
        list of `(batch, channels, samples)`, which add up to the mixture.

    Raises:
        ValueError: for another mode, or stems that lack music or sfx.
    """

    def __init__(self, mode, stems, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        if mode not in CONSISTENCIES:
            raise ValueError(
                f"mixture_consistency must be None or one of {CONSISTENCIES}; "
                f"got {mode!r}"
            )
        if mode == "music_sfx" and not {"music", "sfx"} <= {*stems}:
            raise ValueError(
                "mixture_consistency='music_sfx' needs the stems music and "
                f"sfx; got {stems}"
            )
        self.mode = mode
        self.stems = list(stems)

    def call(self, estimates, mixture):
        chosen = self.stems if self.mode == "all" else ["music", "sfx"]
        share = (mixture - sum(estimates)) / len(chosen)
        return [
            estimate + share if stem in chosen else estimate
            for stem, estimate in zip(self.stems, estimates, strict=True)
        ]

    def compute_output_spec(self, estimates, mixture):
        return [keras.KerasTensor(mixture.shape, "float32") for _ in estimates]
