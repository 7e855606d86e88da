"""Short-time Fourier transform and its inverse, complex numbers as pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from keras_bandit.backend import irfft, rfft
from keras_bandit.common.checks import check_choice
from keras_bandit.common.numpy_spectral import (
    LEAST_ENVELOPE,
    count_frames,
    hann_window,
    reach_of,
)

if TYPE_CHECKING:
    from typing import Any

    from keras_bandit.common.types import Config, Shape, Tensor


PAD_MODES = ("constant", "reflect")


def overlap_add(frames):
    """Adds up frames that start one block after the other.

    `(…, frames, blocks, hop)` to `(…, frames + blocks - 1, hop)`:

        frame 0   a0 a1 a2
        frame 1    + b0 b1 b2
    """
    blocks = frames.shape[-2]
    leading = [[0, 0]] * (len(frames.shape) - 3)
    total = 0.0
    for i in range(blocks):
        shift = [*leading, [i, blocks - 1 - i], [0, 0]]
        total = total + ops.pad(frames[..., i, :], shift)
    return total


class _Transform(keras.layers.Layer):
    """What both directions share: frames, in float32."""

    def __init__(self, n_fft: int, hop_length: int, **kwargs: Any) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        if n_fft < 2 or n_fft % 2:
            raise ValueError(
                f"n_fft must be even and positive; got n_fft={n_fft}"
            )
        # Every sample lies in two frames or more.
        if not 1 <= hop_length <= n_fft // 2:
            raise ValueError(
                "hop_length must be 1 … n_fft / 2; got "
                f"hop_length={hop_length}, n_fft={n_fft}"
            )
        self.n_fft = n_fft
        self.hop_length = hop_length

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "n_fft": self.n_fft,
            "hop_length": self.hop_length,
        }


@keras.saving.register_keras_serializable(package="keras_bandit")
class STFT(_Transform):
    """Short-time Fourier transform with a periodic Hann window.

    Frame `t` is centred on sample `t * hop_length` of the input and divided
    by the root of the window's energy, so that white noise of standard
    deviation σ gives bins of standard deviation σ and losses on waveform and
    spectrogram are on one scale (BandIt, arXiv:2309.02539, Sec. III-F). The
    spectrogram is float32 whatever the dtype policy.

    Example:

    ```python
    stft = keras_bandit.STFT(n_fft=2048, hop_length=441)
    stft(np.zeros((1, 2, 44100), "float32")).shape  # (1, 2, 101, 1025, 2)
    ```

    Args:
        n_fft: int, even. Frame and window length in samples.
        hop_length: int. Samples between frames, at most `n_fft / 2`.
        pad_mode: what the half frame before the start and after the end is
            filled with: `"constant"` (zeros, BandIt v1) or `"reflect"`
            (BandIt v2; needs more than `n_fft // 2` samples).
        extra_frame: bool. Whether there is one frame more where, at a hop
            above 7/16 of a frame, the last samples lie under the vanishing
            end of the last window. If not, there are as many frames as
            `torch.stft` has, and `ISTFT` fades these samples out.

    Call arguments:
        waveform: `(batch, channels, samples)`, any length from one sample.

    Returns:
        `(batch, channels, frames, bins, 2)` float32 with
        `frames = 1 + samples // hop_length` (see `count_frames`) and
        `bins = n_fft // 2 + 1`; the last axis is real and imaginary.

    Raises:
        ValueError: for sizes, a pad mode or a waveform outside the above.
    """

    def __init__(
        self,
        n_fft: int = 2048,
        hop_length: int = 512,
        pad_mode: str = "constant",
        extra_frame: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(n_fft, hop_length, **kwargs)
        check_choice("pad_mode", pad_mode, PAD_MODES)
        self.pad_mode = pad_mode
        self.extra_frame = extra_frame
        self.input_spec = keras.layers.InputSpec(ndim=3)
        window = hann_window(n_fft).astype("float32")
        # The 1 / sqrt(sum w²) of the transform, folded into the window.
        self._window = window / np.sqrt(np.sum(window.astype("float64") ** 2))

    def call(self, waveform: Tensor) -> Tensor:
        hop = self.hop_length
        half = self.n_fft // 2
        samples = ops.shape(waveform)[-1]
        known = waveform.shape[-1] is not None
        if self.pad_mode == "reflect" and known and samples <= half:
            raise ValueError(
                f"pad_mode='reflect' needs more than n_fft // 2 = {half} "
                f"samples; got {samples}"
            )
        padded = ops.pad(
            waveform, [[0, 0], [0, 0], [half, half]], mode=self.pad_mode
        )
        frames = count_frames(samples, self.n_fft, hop, self.extra_frame)
        overlap = -(-self.n_fft // hop)  # hops in a frame, the last one short
        #   hops      0   1   2   3   4     n_fft = 2.5 hops, overlap = 3
        #   frame 0  [         ]
        #   frame 1      [         ]
        #   frame 2          [         ]
        missing = overlap * hop - self.n_fft
        if hop > reach_of(self.n_fft):
            missing += hop  # for one frame more, see `count_frames`
        if missing:
            padded = ops.pad(padded, [[0, 0], [0, 0], [0, missing]])
        padded = padded[..., : (frames + overlap - 1) * hop]
        batch, channels, _ = ops.shape(padded)
        blocks = ops.reshape(
            padded, (batch, channels, frames + overlap - 1, hop)
        )
        framed = ops.concatenate(
            [blocks[:, :, i : i + frames] for i in range(overlap)], axis=-1
        )[..., : self.n_fft]  # (batch, channels, frames, n_fft)
        window = ops.convert_to_tensor(self._window, dtype="float32")
        return rfft(framed * window)

    def compute_output_shape(self, waveform_shape: Shape) -> Shape:
        batch, channels, samples = waveform_shape
        frames = None
        if samples is not None:
            frames = count_frames(
                samples, self.n_fft, self.hop_length, self.extra_frame
            )
        return (batch, channels, frames, self.n_fft // 2 + 1, 2)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "pad_mode": self.pad_mode,
            "extra_frame": self.extra_frame,
        }


@keras.saving.register_keras_serializable(package="keras_bandit")
class ISTFT(_Transform):
    """Inverse of `STFT`, exact to the very edges.

    Windowed frames are added up and divided by the sum of squared windows:
    `istft(stft(x), x)` returns `x` to about 1e-6 of its peak.

    Example:

    ```python
    stft, istft = keras_bandit.STFT(64, 16), keras_bandit.ISTFT(64, 16)
    waveform = np.ones((1, 1, 1000), "float32")
    istft(stft(waveform), waveform)  # the waveform
    ```

    Args:
        n_fft, hop_length: as of `STFT`.

    Call arguments:
        spectrogram: `(batch, channels, frames, bins, 2)`; the imaginary part
            of the first and last bin is ignored.
        waveform: a tensor `(…, samples)` whose length the output takes, of
            at most as many samples as have so many frames, or `None` for
            `(frames - 1) * hop_length` samples. Samples farther than 7/16 of
            a frame behind the last frame's centre are faded out.

    Returns:
        `(batch, channels, samples)` float32.

    Raises:
        ValueError: for sizes outside the above, a spectrogram of another
            number of bins, or a `waveform` of more samples than its frames
            belong to.
    """

    def __init__(
        self, n_fft: int = 2048, hop_length: int = 512, **kwargs: Any
    ) -> None:
        super().__init__(n_fft, hop_length, **kwargs)
        # An inverse FFT would cut or pad other numbers of bins without error.
        self.input_spec = keras.layers.InputSpec(
            ndim=5, axes={3: n_fft // 2 + 1, 4: 2}
        )
        window = hann_window(n_fft).astype("float32").astype("float64")
        self._window = (window * np.sqrt(np.sum(window**2))).astype("float32")
        self._squared_window = (window**2).astype("float32")

    def call(self, spectrogram: Tensor, waveform: Tensor = None) -> Tensor:
        self._check_reach(spectrogram.shape, waveform)
        hop = self.hop_length
        overlap = -(-self.n_fft // hop)
        frames = irfft(ops.convert_to_tensor(spectrogram))
        window = ops.convert_to_tensor(self._window, dtype="float32")
        frames = frames * window
        missing = overlap * hop - self.n_fft
        if missing:
            frames = ops.pad(frames, [[0, 0]] * 3 + [[0, missing]])
        batch, channels, count, _ = ops.shape(frames)
        summed = overlap_add(
            ops.reshape(frames, (batch, channels, count, overlap, hop))
        )
        energy = np.pad(self._squared_window, (0, missing))
        energy = ops.convert_to_tensor(
            energy.reshape(1, overlap, hop), dtype="float32"
        )
        envelope = overlap_add(ops.broadcast_to(energy, (count, overlap, hop)))
        # The first half frame lies before the signal and is dropped. From
        # there to 7/16 of a frame after the last frame's centre the summed
        # squared windows are above the least envelope; what lies past that is
        # cropped, or faded out.
        skip = self.n_fft // 2 // hop
        remainder = self.n_fft // 2 - skip * hop
        envelope = ops.maximum(envelope[skip:], LEAST_ENVELOPE)
        summed = summed[:, :, skip:] / envelope
        result = ops.reshape(
            summed, (batch, channels, (count + overlap - 1 - skip) * hop)
        )[..., remainder:]
        if waveform is None:
            return result[..., : (count - 1) * hop]
        return result[..., : ops.shape(waveform)[-1]]

    def _check_reach(self, spectrogram_shape, waveform):
        frames = spectrogram_shape[2]
        samples = None if waveform is None else waveform.shape[-1]
        if frames is None or samples is None:
            return
        if 1 + samples // self.hop_length > frames:
            limit = frames * self.hop_length - 1
            raise ValueError(
                f"waveform must have at most {limit} samples, as its STFT "
                f"has {frames} frames; got {samples}"
            )

    def compute_output_shape(
        self, spectrogram_shape: Shape, waveform_shape: Shape | None = None
    ) -> Shape:
        batch, channels, frames = spectrogram_shape[:3]
        if waveform_shape is not None:
            return (batch, channels, waveform_shape[-1])
        samples = None if frames is None else (frames - 1) * self.hop_length
        return (batch, channels, samples)
