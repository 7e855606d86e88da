"""Scalars, sounds and pictures for TensorBoard."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import keras
import numpy as np
import soundfile

from keras_bandit.common.quiet import quiet_tensorflow
from keras_bandit.training.feature_learner import separator_of

if TYPE_CHECKING:
    from typing import Any


# Epochs between two estimates of the clip.
CLIP_EVERY = 10


def spectrogram_image(audio, n_fft=1024):
    """Picture `(bins, frames)` of the first of `(channels, samples)`.

    0 … 1, black at 80 dB below a full-scale sine; low frequencies below.
    """
    padded = np.pad(audio[0], (0, n_fft))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)
    window = np.hanning(n_fft)
    spectrum = np.fft.rfft(frames[:: n_fft // 2] * window)
    magnitude = np.abs(spectrum) * 2 / window.sum()
    level_db = 20 * np.log10(magnitude + 1e-10)
    return np.clip(1 + level_db / 80, 0, 1).T[::-1]


def first_example(dataset: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A clip to watch, `(mixture, {stem: target})`, `(channels, samples)` each.

    The first example of the first batch of a dataset as `validation_chunks`.
    """
    mixture, targets = dataset[0]
    return mixture[0], {stem: target[0] for stem, target in targets.items()}


class EventLog(keras.callbacks.Callback):
    """Writes logs and a fixed clip's estimates for TensorBoard.

    Scalars go to `train/` and `validation/` under the same names, so that
    TensorBoard draws both in one plot; sounds and spectrograms to
    `validation/`, the targets once, in the first epoch. Sounds above full
    scale are made softer; the picture shows the level. TensorBoard forgets
    what former files say of the epoch `start` and later ones.

    Keras's `TensorBoard` callback and `tf.summary.scalar` need the package
    tensorboard, which TensorFlow does not bring; the writer of TensorFlow's
    first version does not.
    """

    def __init__(self, folder, start=0, clip=None):
        super().__init__()
        self.folder, self.start, self.clip = folder, start, clip

    def on_train_begin(self, logs=None):
        with quiet_tensorflow():
            # Only those who write events load TensorFlow.
            import tensorflow as tf

        self._tf, self._summary = tf, tf.compat.v1.Summary
        self._writers = {}
        session = tf.compat.v1.SessionLog
        session = session(status=session.START)
        for name in ("train", "validation"):
            # The writer needs no graph, but refuses to be made without one.
            with tf.Graph().as_default():
                writer = tf.compat.v1.summary.FileWriter(
                    str(self.folder / name),
                    # Names hold seconds: a restart may come within one.
                    filename_suffix=f".{time.time_ns()}",
                )
            writer.add_session_log(session, self.start)
            self._writers[name] = writer
        if self.clip is not None and self.start == 0:
            mixture, targets = self.clip
            self._write_clip("mixture", mixture, 0)
            for stem, target in targets.items():
                self._write_clip(f"{stem}/target", target, 0)

    def _write(self, name, step, **value):
        summary = self._summary(value=[self._summary.Value(**value)])
        self._writers[name].add_summary(summary, step)

    def _write_clip(self, tag, audio, step):
        audio = np.asarray(audio, "float32")  # (channels, samples)
        peak = max(1.0, float(np.max(np.abs(audio), initial=0.0)))
        rate = self.model.sample_rate
        wav = io.BytesIO()
        soundfile.write(wav, audio.T / peak, rate, format="WAV")
        sound = self._summary.Audio(
            sample_rate=rate,
            num_channels=audio.shape[0],
            length_frames=audio.shape[1],
            encoded_audio_string=wav.getvalue(),
            content_type="audio/wav",
        )
        self._write("validation", step, tag=tag, audio=sound)
        gray = np.round(255 * spectrogram_image(audio)).astype("uint8")
        picture = self._summary.Image(
            height=gray.shape[0],
            width=gray.shape[1],
            colorspace=1,
            encoded_image_string=self._tf.io.encode_png(
                gray[..., None]
            ).numpy(),
        )
        self._write("validation", step, tag=tag, image=picture)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self._write(
                "validation" if name.startswith("val_") else "train",
                epoch,
                tag=name.removeprefix("val_"),
                simple_value=float(value),
            )
        if self.clip is not None and epoch % CLIP_EVERY == 0:
            mixture = np.asarray(self.clip[0], "float32")[None]
            # A `FeatureLearner` has no encoder, its separator has.
            separator = separator_of(self.model)
            for stem, x in separator.predict_on_batch(mixture).items():
                audio = keras.ops.convert_to_numpy(x)[0]
                self._write_clip(f"{stem}/estimate", audio, epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs=None):
        for writer in self._writers.values():
            writer.close()
