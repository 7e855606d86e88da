"""Whole models, waveform to waveforms, by TensorFlow's own converters."""

import contextlib
import tempfile

import keras
from keras import ops

from keras_bandit.export import UnsupportedModelError


def write_whole_model(separator, path, format, samples):
    """Writes a SavedModel or a LiteRT file that takes so many samples.

    `separator` is an `AudioSeparator` on the TensorFlow backend.
    `UnsupportedModelError` if LiteRT has no operator for a layer's.
    """
    import tensorflow as tf

    from keras_bandit.backend.tensorflow import without_xla

    channels = separator.num_channels or 1
    spec = tf.TensorSpec((1, channels, samples), tf.float32, name="waveform")

    def serve(waveform):
        return dict(separator(waveform))

    def save(folder):
        archive = keras.export.ExportArchive()
        archive.track(separator)
        with without_xla():
            archive.add_endpoint("serve", serve, input_signature=[spec])
        archive.write_out(folder, verbose=False)

    if format == "saved_model":
        save(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        with _irfft_by_rfft():
            save(folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        path.write_bytes(_converted(converter))


def _converted(converter):
    try:
        return converter.convert()
    except Exception as error:  # of many classes, with pages of text
        reasons = str(error).partition("TF Select ops: ")[2].splitlines()
        raise UnsupportedModelError(
            "format litert holds models of LiteRT's own operators; got "
            + (reasons[0] if reasons else type(error).__name__)
        ) from error


def check_whole_model(format):
    """Raises `UnsupportedModelError` unless Keras runs on TensorFlow."""
    if keras.config.backend() != "tensorflow":
        raise UnsupportedModelError(
            f"format {format} is written on the TensorFlow backend; got "
            f"KERAS_BACKEND={keras.config.backend()}"
        )


@contextlib.contextmanager
def _irfft_by_rfft():
    """Models that are traced in this block use no inverse FFT."""
    from keras_bandit.backend import tensorflow

    tensorflow.irfft = irfft_by_rfft
    try:
        yield
    finally:
        del tensorflow.irfft


def irfft_by_rfft(x):
    """`keras_bandit.backend.irfft` by a forward transform: LiteRT has no other.

    With `X = A + iB` of `n` bins in all, A is even, B odd and

        n x[t] = sum_k A[k] cos(2 pi k t / n) - B[k] sin(2 pi k t / n)
               = Re C[t] + Im C[t],  C the transform of the real A + B,

    where, as C is of a real sequence, `C[n - t]` is the conjugate of `C[t]`.
    """
    real, imaginary = ops.unstack(x, 2, axis=-1)
    # The imaginary parts of the first and the last bin are ignored.
    inner = imaginary[..., 1:-1]
    imaginary = ops.pad(inner, [[0, 0]] * (len(x.shape) - 2) + [[1, 1]])
    upper = ops.flip((real - imaginary)[..., 1:-1], axis=-1)
    both = ops.concatenate([real + imaginary, upper], axis=-1)
    real, imaginary = ops.rfft(both)
    upper = ops.flip((real - imaginary)[..., 1:-1], axis=-1)
    both = ops.concatenate([real + imaginary, upper], axis=-1)
    return both / both.shape[-1]
