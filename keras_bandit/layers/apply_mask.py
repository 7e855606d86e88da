"""Complex multiplication of a spectrogram by a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_bandit.backend import complex_product

if TYPE_CHECKING:
    from typing import Any

    from keras_bandit.common.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_bandit")
class ApplyMask(keras.layers.Layer):
    """Multiplies a spectrogram by a complex mask, bin by bin.

    Example:

    ```python
    spectrogram = np.ones((1, 2, 10, 5, 2), "float32")
    one = np.zeros_like(spectrogram) + np.array([1, 0], "float32")
    keras_bandit.layers.ApplyMask()(spectrogram, one)  # the spectrogram
    ```

    Call arguments:
        spectrogram: `(batch, channels, frames, bins, 2)`.
        complex_mask: as many values; the leading axes may be folded, as in
            `(batch * channels, 1, frames, bins, 2)`. (Keras keeps the name
            `mask` for masks over padding.)

    Returns:
        the spectrogram's shape, float32. A mask of ones (real 1, imaginary
        0) returns the spectrogram.

    Raises:
        ValueError: if the spectrogram has other axes.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=5, axes={4: 2})

    def call(self, spectrogram: Tensor, complex_mask: Tensor) -> Tensor:
        mask = ops.reshape(complex_mask, ops.shape(spectrogram))
        return complex_product(spectrogram, mask)

    def compute_output_shape(
        self, spectrogram_shape: Shape, complex_mask_shape: Shape
    ) -> Shape:
        return spectrogram_shape
