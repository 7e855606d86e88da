"""From a spectrogram to one embedding per band."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from keras_bandit.bands import as_bands, check_bands
from keras_bandit.common.checks import check_integer
from keras_bandit.layers.band_groups import (
    band_positions,
    group_bands,
    inverse_index,
    padded_index,
    split_groups,
)
from keras_bandit.layers.gather import gather
from keras_bandit.layers.initializers import initializer_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from keras_bandit.bands.band import Band
    from keras_bandit.common.types import Config, Shape, Tensor


# PyTorch's LayerNorm, with which the authors trained; Keras's default is 1e-3.
EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="keras_bandit")
class BandSplit(keras.layers.Layer):
    """Projects each frequency band of a spectrogram to an embedding.

    Each band is flattened, normalized and mapped by its own dense layer, as
    in BSRNN (Luo & Yu 2023, arXiv:2209.15174, Sec. II) and BandIt (Sec.
    III-C). Overlapping bands share bins unweighted. The bands' variables are
    stored flat, band after band: `kernel (total, embed_dim)`, `gamma` and
    `beta` `(total,)`, `bias (bands, embed_dim)` with
    `total = sum of 2 * channels * width`. Inside a band the order is channel,
    then all real parts, then all imaginary parts.

    Example:

    ```python
    split = keras_bandit.BandSplit([(0, 2), (1, 5)], embed_dim=8)
    spectrogram = np.zeros((1, 2, 10, 5, 2), "float32")
    split(spectrogram).shape  # (1, 2, 10, 8)
    ```

    Args:
        bands: list of `Band`, `(start, stop)` or `(start, stop, weights)`,
            `stop` excluded; see `keras_bandit.bands.band_layout`. The weights
            play no part here.
        embed_dim: int. Size of each band's embedding.
        kernel_initializer: initializer of kernel and bias. `None`: uniform in
            ±1 / sqrt(values of the band), as PyTorch's `Linear`.

    Call arguments:
        spectrogram: `(batch, channels, frames, bins, 2)`, last axis is real
            and imaginary. Kept in float32 until after the normalization, also
            under mixed precision.

    Returns:
        `(batch, bands, frames, embed_dim)`.

    Raises:
        ValueError: if `embed_dim` is below 1, a band is empty, a bin other
            than the last is uncovered, a band reaches beyond the spectrogram,
            or the spectrogram's channels or bins change after the first call.
    """

    def __init__(
        self,
        bands: Sequence[Band],
        embed_dim: int,
        kernel_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        check_integer("embed_dim", embed_dim, 1)
        self.bands = as_bands(bands)
        self.embed_dim = embed_dim
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=5, axes={4: 2})

    def build(self, spectrogram_shape: Shape) -> None:
        _, channels, _, bins, _ = spectrogram_shape
        check_bands(self.bands, bins)
        # Other channels or bins would shift every band without an error.
        self.input_spec = keras.layers.InputSpec(
            ndim=5, axes={1: channels, 3: bins, 4: 2}
        )
        sizes = [2 * channels * band.width for band in self.bands]
        self._groups = group_bands(sizes)
        self._order = band_positions(self._groups)
        self._sizes = np.asarray(sizes, "float32")
        self._index, valid = padded_index(self._groups)
        self._inverse = inverse_index(self._index, valid)
        # Spectrogram positions in the order of the flat variables.
        #   band → channel → real bins …, imaginary bins …
        self._source = np.concatenate(
            [
                (channel * bins + np.arange(band.start, band.stop)) * 2 + part
                for band in self.bands
                for channel in range(channels)
                for part in range(2)
            ]
        )
        total = len(self._source)
        fan_in = np.repeat(self._sizes, sizes)
        self.gamma = self.add_weight((total,), "ones", name="gamma")
        self.beta = self.add_weight((total,), "zeros", name="beta")
        self.kernel = self.add_weight(
            (total, self.embed_dim),
            initializer_for(self.kernel_initializer, fan_in[:, None]),
            name="kernel",
        )
        self.bias = self.add_weight(
            (len(sizes), self.embed_dim),
            initializer_for(self.kernel_initializer, self._sizes[:, None]),
            name="bias",
        )

    def call(self, spectrogram: Tensor) -> Tensor:
        spectrogram = ops.cast(spectrogram, "float32")
        batch, channels, frames, bins, _ = ops.shape(spectrogram)
        values = ops.reshape(
            ops.transpose(spectrogram, (0, 2, 1, 3, 4)),
            (batch * frames, channels * bins * 2),
        )
        parts = zip(
            self._groups,
            self._padded(self.gamma, "float32"),
            self._padded(self.beta, "float32"),
            self._padded(self.kernel, self.compute_dtype),
            strict=True,
        )
        embedded = ops.concatenate(
            [self._embed(values, *part) for part in parts], axis=0
        )  # (bands, batch * frames, embed_dim)
        embedded = gather(embedded, self._order, np.argsort(self._order), 0)
        embedded = embedded + ops.cast(self.bias, self.compute_dtype)[:, None]
        embedded = ops.reshape(
            embedded, (len(self.bands), batch, frames, self.embed_dim)
        )
        return ops.transpose(embedded, (1, 0, 2, 3))

    def _padded(self, variable, dtype):
        """A flat variable's bands, padded, as a list with an entry a group."""
        values = gather(
            ops.cast(variable, dtype), self._index, self._inverse, axis=0
        )
        return split_groups(values, self._groups)

    def _embed(self, values, group, gamma, beta, kernel):
        """`(batch * frames, values)` → `(size, batch * frames, embed_dim)`."""
        index = np.minimum(group.index, len(self._source) - 1)
        valid = ops.convert_to_tensor(group.valid)
        count = ops.convert_to_tensor(self._sizes[group.members][:, None])
        x = ops.take(values, self._source[index].ravel(), axis=-1)
        x = ops.reshape(x, (-1, *index.shape))  # (batch * frames, size, width)
        mean = ops.sum(x * valid, axis=-1, keepdims=True) / count
        x = (x - mean) * valid
        variance = ops.sum(x * x, axis=-1, keepdims=True) / count
        x = x * ops.rsqrt(variance + EPSILON)
        x = ops.cast((x * gamma + beta) * valid, self.compute_dtype)
        return ops.matmul(ops.transpose(x, (1, 0, 2)), kernel)

    def compute_output_shape(self, spectrogram_shape: Shape) -> Shape:
        batch, _, frames, _, _ = spectrogram_shape
        return (batch, len(self.bands), frames, self.embed_dim)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "bands": [band.to_list() for band in self.bands],
            "embed_dim": self.embed_dim,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }
