"""From the masks of overlapping bands to one mask over all bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from keras_bandit.backend import take
from keras_bandit.bands import as_bands, check_bands
from keras_bandit.common.checks import check_integer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from keras_bandit.bands.band import Band
    from keras_bandit.common.types import Config, Shape, Tensor


def recombination_table(bands, num_bins):
    """For each bin the values that cover it: offsets, weights `(overlap, bins)`.

    `offsets[k, f]` is where the k-th band covering bin `f` holds it when the
    bands' bins are laid out one band after the other; unused places have
    offset 0 and weight 0.
    """
    covering = [[] for _ in range(num_bins)]
    start = 0
    for band in bands:
        for i, weight in enumerate(band.weights):
            covering[band.start + i].append((start + i, weight))
        start += band.width
    overlap = max(len(entries) for entries in covering)
    offsets = np.zeros((overlap, num_bins), "int32")
    weights = np.zeros((overlap, num_bins), "float32")
    for bin_index, entries in enumerate(covering):
        for k, (offset, weight) in enumerate(entries):
            offsets[k, bin_index] = offset
            weights[k, bin_index] = weight
    return offsets, weights


@keras.saving.register_keras_serializable(package="keras_bandit")
class OverlapRecombine(keras.layers.Layer):
    """Joins the masks of overlapping bands into one mask.

    `M[c, f, t] = sum_b W_b[f] M_b[c, f, t]` (BandIt, arXiv:2309.02539,
    Sec. III-E, eq. 12).
    Where the weights of a bin add up to one, masks of all ones give a mask of
    all ones. A bin that no band covers gets mask 0.

    Example:

    ```python
    bands = [(0, 3, [1, 1, 0.5]), (2, 5, [0.5, 1, 1])]
    recombine = keras_bandit.OverlapRecombine(bands, num_bins=5)
    mask = recombine(np.ones((1, 10, 12), "float32"))  # ones, (1, 1, 10, 5, 2)
    ```

    Args:
        bands: list of `Band`, `(start, stop)` or `(start, stop, weights)`.
        num_bins: int. Bins of the spectrogram, `n_fft // 2 + 1`.
        num_channels: int. Channels of the spectrogram.

    Call arguments:
        masks: `(batch, frames, sum of 2 * channels * width)`: band after
            band, each channel, bin, (real, imaginary), as `MaskDecoder`
            returns them.

    Returns:
        `(batch, channels, frames, num_bins, 2)` float32.

    Raises:
        ValueError: if a band is empty or beyond `num_bins`, a bin other than
            the last is uncovered, `num_channels` is below 1, or the masks
            have another number of values.
    """

    def __init__(
        self,
        bands: Sequence[Band],
        num_bins: int,
        num_channels: int = 1,
        **kwargs: Any,
    ) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        check_integer("num_channels", num_channels, 1)
        self.bands = as_bands(bands)
        check_bands(self.bands, num_bins)
        self.num_bins = num_bins
        self.num_channels = num_channels
        offsets, self._weights = recombination_table(self.bands, num_bins)
        self._index = self._mask_positions(offsets)
        self._target, self._value_weights = self._targets()
        # Gathering beyond the last value is no error on JAX.
        total = 2 * num_channels * sum(band.width for band in self.bands)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={2: total})

    def _mask_positions(self, offsets):
        """Gather indices `(overlap, channels, bins, 2)` into the masks."""
        widths = np.asarray([band.width for band in self.bands])
        starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
        # Per value of the layout "band → bin": its band's start and width.
        start = np.repeat(starts, widths)[offsets][:, None]
        width = np.repeat(widths, widths)[offsets][:, None]
        channel = np.arange(self.num_channels)[:, None]
        # Masks come as band → channel → bin → part:
        #   start * channels + channel * width + (offset - start)
        index = start * (self.num_channels - 1) + offsets[:, None]
        index = index + channel * width
        return 2 * index[..., None] + np.arange(2)

    def _targets(self):
        """Where each value of the masks goes, one place, and its weight."""
        places, weights = [], []
        for band in self.bands:
            for channel in range(self.num_channels):
                first = channel * self.num_bins
                bins = np.arange(first + band.start, first + band.stop)
                places.append((2 * bins[:, None] + np.arange(2)).ravel())
                weights.append(np.repeat(band.weights, 2))
        return np.concatenate(places), np.concatenate(weights)

    def call(self, masks: Tensor) -> Tensor:
        batch, frames, _ = ops.shape(masks)
        mask = self._recombine(ops.convert_to_tensor(masks))
        mask = ops.reshape(
            mask, (batch, frames, self.num_channels, self.num_bins, 2)
        )
        return ops.transpose(mask, (0, 2, 1, 3, 4))

    def _recombine(self, masks):
        """`(batch, frames, values)` → `(batch, frames, channel * bin * part)`."""
        weights = np.broadcast_to(
            self._weights[:, None, :, None], self._index.shape
        )

        @ops.custom_gradient
        def recombined(masks):
            def gradient(*args, upstream=None):
                upstream = args[0] if upstream is None else upstream
                back = take(upstream, self._target, -1)
                return back * ops.convert_to_tensor(self._value_weights)

            mask = 0.0
            for index, weight in zip(self._index, weights, strict=True):
                value = take(masks, index.ravel(), -1)
                mask = mask + value * ops.convert_to_tensor(weight.ravel())
            return mask, gradient

        return recombined(masks)

    def compute_output_shape(self, masks_shape: Shape) -> Shape:
        batch, frames, _ = masks_shape
        return (batch, self.num_channels, frames, self.num_bins, 2)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "bands": [band.to_list() for band in self.bands],
            "num_bins": self.num_bins,
            "num_channels": self.num_channels,
        }
