"""From features to one complex mask per band."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from keras_bandit.backend import split
from keras_bandit.bands import as_bands
from keras_bandit.common.checks import check_integer
from keras_bandit.layers.band_groups import (
    band_positions,
    group_bands,
    inverse_index,
    padded_index,
    split_groups,
)
from keras_bandit.layers.band_split import EPSILON
from keras_bandit.layers.gather import gather
from keras_bandit.layers.initializers import initializer_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from keras_bandit.bands.band import Band
    from keras_bandit.common.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_bandit")
class MaskDecoder(keras.layers.Layer):
    """Estimates a complex mask for every bin of every band.

    Per band: normalization, a dense layer with tanh, and a dense layer gated
    by its own second half (GLU), as in BSRNN (arXiv:2209.15174, Sec. II) and
    BandIt (Sec. III-E, eq. 11). Masks are unbounded. No variable is shared
    between bands: `gamma`, `beta` `(bands, embed_dim)`, `hidden_kernel
    (bands, embed_dim, mlp_dim)`, `hidden_bias (bands, mlp_dim)`, and flat,
    band after band, `output_kernel (total, mlp_dim)` and `output_bias
    (total,)` with `total = sum of 4 * channels * width`. Inside a band the
    order is values, then gates, each channel, bin, (real, imaginary).

    Example:

    ```python
    decoder = keras_bandit.MaskDecoder([(0, 2), (2, 5)], mlp_dim=16)
    features = np.zeros((1, 2, 10, 8), "float32")
    decoder(features).shape  # (1, 10, 10): 2 * (2 + 3) values
    ```

    Args:
        bands: list of `Band`, `(start, stop)` or `(start, stop, weights)`.
        mlp_dim: int. Units of the hidden layer.
        num_channels: int. Channels of the spectrogram that is masked.
        kernel_initializer: initializer of kernels and biases. `None`: uniform
            in ±1 / sqrt(inputs), as PyTorch's `Linear`.

    Call arguments:
        features: `(batch, bands, frames, embed_dim)`.

    Returns:
        `(batch, frames, sum of 2 * channels * width)` float32: the masks band
        after band, each channel, bin, (real, imaginary). `OverlapRecombine`
        joins them.

    Raises:
        ValueError: if `mlp_dim` or `num_channels` is below 1, a band is
            empty, or the features have another number of bands.
    """

    def __init__(
        self,
        bands: Sequence[Band],
        mlp_dim: int,
        num_channels: int = 1,
        kernel_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer("mlp_dim", mlp_dim, 1)
        check_integer("num_channels", num_channels, 1)
        self.bands = as_bands(bands)
        self.mlp_dim = mlp_dim
        self.num_channels = num_channels
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        # Mask values per band; the output layer has as many gates.
        self._sizes = [2 * num_channels * band.width for band in self.bands]
        self._groups = group_bands(self._sizes)
        self._order = band_positions(self._groups)
        self._index, valid = padded_index(self._groups)
        self._inverse = inverse_index(self._index, valid)
        self._rows, self._valid_rows = self._output_rows()
        self._inverse_rows = inverse_index(self._rows, self._valid_rows)

    def _output_rows(self):
        """Rows of the output layer in the groups' padded order.

        With `starts` counted in values, value `i` of band `b` is in row
        `2 * starts[b] + i` and its gate one size later.
        """
        sizes = np.asarray(self._sizes)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        rows, valid = [], []
        for group in self._groups:
            value = group.index + starts[group.members, None]
            gate = value + sizes[group.members, None]
            rows.append(np.stack([value, gate], axis=1).ravel())
            valid.append(np.stack([group.valid] * 2, axis=1).ravel())
        rows, valid = np.concatenate(rows), np.concatenate(valid)
        return np.where(valid > 0, rows, 0), valid

    def build(self, features_shape: Shape) -> None:
        _, bands, _, embed_dim = features_shape
        if bands != len(self.bands):
            raise ValueError(
                f"features must have {len(self.bands)} bands on axis 1; got "
                f"shape {tuple(features_shape)}"
            )
        total = 2 * sum(self._sizes)

        def add(name, shape, fan_in):
            initializer = initializer_for(self.kernel_initializer, fan_in)
            return self.add_weight(shape, initializer, name=name)

        # Normalization stays in float32 under mixed precision.
        self.gamma = self.add_weight(
            (bands, embed_dim), "ones", autocast=False, name="gamma"
        )
        self.beta = self.add_weight(
            (bands, embed_dim), "zeros", autocast=False, name="beta"
        )
        self.hidden_kernel = add(
            "hidden_kernel", (bands, embed_dim, self.mlp_dim), embed_dim
        )
        self.hidden_bias = add("hidden_bias", (bands, self.mlp_dim), embed_dim)
        self.output_kernel = add(
            "output_kernel", (total, self.mlp_dim), self.mlp_dim
        )
        self.output_bias = add("output_bias", (total,), self.mlp_dim)

    def call(self, features: Tensor) -> Tensor:
        batch, bands, frames, embed_dim = ops.shape(features)
        x = ops.reshape(
            ops.transpose(features, (1, 0, 2, 3)),
            (bands, batch * frames, embed_dim),
        )
        x = ops.matmul(self._normalize(x), self.hidden_kernel)
        x = ops.tanh(x + self.hidden_bias[:, None])
        x = gather(x, np.argsort(self._order), self._order, axis=0)
        masks = ops.concatenate(self._outputs(x), axis=-1)
        # (batch * frames, padded values of all groups); backwards, padding
        # takes some gradient and loses it to its weights of zero.
        masks = gather(masks, self._inverse, self._index, -1)
        masks = ops.reshape(masks, (batch, frames, len(self._inverse)))
        return ops.cast(masks, "float32")

    def _normalize(self, x):
        x = ops.cast(x, "float32")
        x = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(x * x, axis=-1, keepdims=True)
        x = x * ops.rsqrt(variance + EPSILON)
        x = x * ops.cast(self.gamma, "float32")[:, None]
        x = x + ops.cast(self.beta, "float32")[:, None]
        return ops.cast(x, self.compute_dtype)

    def _outputs(self, hidden):
        """Masks of each group's padded bands, list of `(n, size * width)`.

        `hidden` is `(bands, n, mlp_dim)` in the order of the groups.
        """
        kernels = self._padded(self.output_kernel, self._valid_rows[:, None])
        biases = self._padded(self.output_bias, self._valid_rows)
        hidden = split(hidden, [len(g.members) for g in self._groups])
        outputs = []
        for group, x, kernel, bias in zip(
            self._groups, hidden, kernels, biases, strict=True
        ):
            size, width = group.index.shape
            kernel = ops.transpose(kernel, (0, 2, 1))
            x = ops.matmul(x, kernel)  # (size, n, 2 * width)
            x = x + bias[:, None]
            x = ops.glu(x, axis=-1)
            x = ops.reshape(ops.transpose(x, (1, 0, 2)), (-1, size * width))
            outputs.append(x)
        return outputs

    def _padded(self, variable, valid):
        """A variable's rows by group, zero where a band is padded."""
        rows = gather(
            ops.cast(variable, self.compute_dtype),
            self._rows,
            self._inverse_rows,
            axis=0,
        )
        rows = rows * ops.convert_to_tensor(valid, self.compute_dtype)
        return split_groups(rows, self._groups, rows=2)

    def compute_output_spec(self, features: Tensor) -> keras.KerasTensor:
        # Float32 under every dtype policy: what it scales is a spectrogram.
        batch, _, frames, _ = features.shape
        return keras.KerasTensor(
            (batch, frames, sum(self._sizes)), dtype="float32"
        )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "bands": [band.to_list() for band in self.bands],
            "mlp_dim": self.mlp_dim,
            "num_channels": self.num_channels,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }
