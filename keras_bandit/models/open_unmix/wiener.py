"""The multichannel Wiener filter that sharpens all stems together.

Nugraha, Liutkus & Vincent 2016, "Multichannel Audio Source Separation with
Deep Neural Networks" (TASLP 24:9), in the form that Open-Unmix has it
(`sigsep/open-unmix-pytorch` at fb672c9). Complex numbers are pairs in the
last axis.
"""

import keras
import numpy as np
from keras import ops

from keras_bandit.backend import complex_product
from keras_bandit.layers.magnitude import with_phase_of
from keras_bandit.models.open_unmix.numpy_transforms import EPSILON, LOUDEST


def conjugate(x):
    return x * ops.convert_to_tensor(np.array([1, -1], "float32"))


def squared(x):
    """Squared magnitude; the last axis goes."""
    return ops.sum(ops.square(x), axis=-1)


def filter_once(sources, mixture, num_channels):
    """One step of expectation maximization.

    Each source has a power at each frame and bin, `v`, and a covariance of
    the two channels at each bin, `R`; it gets the share `v R (Σ v R)⁻¹` of
    the mixture.

    Args:
        sources: `(sources, batch, 2, windows, frames, bins, 2)`.
        mixture: `(batch, 2, windows, frames, bins, 2)`.
        num_channels: int. 1 if the second channel is none.

    Returns:
        the sources' shape.
    """
    x0, x1 = mixture[:, 0], mixture[:, 1]
    y0, y1 = sources[:, :, 0], sources[:, :, 1]
    v = (squared(y0) + squared(y1)) / num_channels
    total = EPSILON + ops.sum(v, axis=-2, keepdims=True)  # over frames
    # R = [[r00, r01], [conj(r01), r11]], of each source and bin
    r00 = ops.sum(squared(y0), axis=-2, keepdims=True) / total
    r11 = ops.sum(squared(y1), axis=-2, keepdims=True) / total
    r01 = complex_product(y0, conjugate(y1))
    r01 = ops.sum(r01, axis=-3, keepdims=True) / total[..., None]
    # C = Σ v R, of each frame and bin
    c00 = ops.sum(v * r00, axis=0) + np.sqrt(EPSILON)
    c11 = ops.sum(v * r11, axis=0) + np.sqrt(EPSILON)
    c01 = ops.sum(v[..., None] * r01, axis=0)
    determinant = (c00 * c11 - squared(c01))[..., None]
    # z = C⁻¹ x
    z0 = c11[..., None] * x0 - complex_product(c01, x1)
    z1 = c00[..., None] * x1 - complex_product(conjugate(c01), x0)
    z0, z1 = z0 / determinant, z1 / determinant
    y0 = r00[..., None] * z0 + complex_product(r01, z1)
    y1 = r11[..., None] * z1 + complex_product(conjugate(r01), z0)
    return ops.stack([v[..., None] * y0, v[..., None] * y1], axis=2)


def wiener(mixture, magnitudes, niter=1, softmask=False, residual=False):
    """Sources from their magnitudes, filtered together.

    After one step or more the sources add up to the mixture, to about 1e-5 of
    its peak.

    Args:
        mixture: `(batch, channels, windows, frames, bins, 2)`, one or two
            channels. Windows are independent of one another.
        magnitudes: `(sources, batch, channels, windows, frames, bins)`.
        niter: int. Steps of expectation maximization.
        softmask: bool. Whether the sources begin as shares of the mixture,
            not as magnitudes with its phase.
        residual: bool. Whether what they leave of the mixture is a source
            too, the last one.

    Returns:
        `(sources, batch, channels, windows, frames, bins, 2)`.
    """
    if softmask:
        total = EPSILON + ops.sum(magnitudes, axis=0)
        sources = (magnitudes / total)[..., None] * mixture
    else:
        sources = with_phase_of(mixture, magnitudes)
    if residual:
        rest = mixture - ops.sum(sources, axis=0)
        sources = ops.concatenate([sources, rest[None]])
    if not niter:
        return sources
    peak = ops.sqrt(ops.max(squared(mixture), axis=(1, 3, 4), keepdims=True))[
        ..., None
    ]
    gain = ops.maximum(peak / LOUDEST, 1.0)  # (batch, 1, windows, 1, 1, 1)
    # A second channel of zeros keeps out of the first one.
    channels = ops.shape(mixture)[1]
    missing = [0, 2 - channels]
    x = ops.pad(mixture / gain, [[0, 0], missing] + [[0, 0]] * 4)
    y = ops.pad(sources / gain, [[0, 0]] * 2 + [missing] + [[0, 0]] * 4)
    for _ in range(niter):
        y = filter_once(y, x, ops.cast(channels, "float32"))
    return y[:, :, :channels] * gain


@keras.saving.register_keras_serializable(package="keras_bandit")
class WienerFilter(keras.layers.Layer):
    """`wiener` on windows of a spectrogram, from masks of magnitudes.

    Args:
        niter: int. Steps of expectation maximization.
        softmask: bool.
        residual: bool. Whether there is one source more, the rest.
        window_frames: int. Windows of so many frames are filtered each on its
            own, the last one shorter; `None`: all frames together.
        scale: float; magnitudes of `torch.stft` over the spectrogram's.

    Call arguments:
        spectrogram: `(batch, channels, frames, bins, 2)`, one or two channels.
        masks: list of complex masks of that shape, zero or more and real.

    Returns:
        list of spectrograms of that shape, one for each mask (and the rest).

    Raises:
        ValueError: for more than two channels.
    """

    def __init__(
        self, niter, softmask, residual, window_frames, scale, **kwargs
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.niter = niter
        self.softmask = softmask
        self.residual = residual
        self.window_frames = window_frames
        self.scale = scale

    def call(self, spectrogram, masks):
        if self.niter and (spectrogram.shape[1] or 1) > 2:
            raise ValueError(
                "the Wiener filter takes one or two channels; got "
                f"{spectrogram.shape[1]}"
            )
        shape = ops.shape(spectrogram)
        mixture = self._windows(spectrogram * self.scale)
        level = ops.sqrt(ops.maximum(squared(mixture), 1e-36))
        masks = [self._windows(mask)[..., 0] for mask in masks]
        magnitudes = ops.stack([level * mask for mask in masks])
        sources = wiener(
            mixture, magnitudes, self.niter, self.softmask, self.residual
        )
        count = len(masks) + self.residual
        batch, channels, frames, bins, _ = shape
        sources = ops.reshape(
            sources / self.scale, (count, batch, channels, -1, bins, 2)
        )
        return ops.unstack(sources[:, :, :, :frames], count, axis=0)

    def _windows(self, x):
        """`(batch, channels, windows, frames, bins, 2)`, zeros at the end.

        Frames of zeros change nothing: the filter is made of sums over
        frames and of the loudest bin.
        """
        batch, channels, frames, bins, _ = ops.shape(x)
        length = frames
        if self.window_frames is not None:
            length = ops.minimum(frames, self.window_frames)
            if isinstance(frames, int):
                length = min(frames, self.window_frames)
            x = ops.pad(
                x, [[0, 0], [0, 0], [0, -frames % length], [0, 0], [0, 0]]
            )
        return ops.reshape(x, (batch, channels, -1, length, bins, 2))

    def compute_output_spec(self, spectrogram, masks):
        return [
            keras.KerasTensor(spectrogram.shape, "float32")
            for _ in range(len(masks) + self.residual)
        ]
