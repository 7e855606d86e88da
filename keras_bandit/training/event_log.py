"""Scalars, sounds and pictures for TensorBoard."""

import io
import pathlib
import time

import keras
import numpy as np
import soundfile

from keras_bandit.common.checks import check_whole
from keras_bandit.training.feature_learner import separator_of

TRAIN, VALIDATION = "train", "validation"


class EventFile:
    """A file of TensorBoard events, written record by record.

    TensorFlow's own `tf.summary.scalar` and its like need the package
    tensorboard; the file format needs nothing but the records.

    Args:
        folder: made if it does not exist; a new file is made there.
        start_step: int. Steps from there on in former files of the folder
            count no more.
    """

    def __init__(self, folder, start_step=0):
        # Only those who write events load TensorFlow.
        import tensorflow as tf

        self._tf = tf
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}"
        self._writer = tf.io.TFRecordWriter(str(pathlib.Path(folder) / name))
        self._write(file_version="brain.Event:2")
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self._write(step=start_step, session_log=start)

    def _write(self, **fields):
        event = self._tf.compat.v1.Event(wall_time=time.time(), **fields)
        self._writer.write(event.SerializeToString())

    def _write_value(self, step, **value):
        summary = self._tf.compat.v1.Summary(
            value=[self._tf.compat.v1.Summary.Value(**value)]
        )
        self._write(step=step, summary=summary)

    def scalar(self, tag, value, step):
        self._write_value(step, tag=tag, simple_value=value)

    def audio(self, tag, audio, sample_rate, step):
        """`audio` is `(channels, samples)`; above full scale it is made softer.

        Players clip what is above; the picture beside it shows the level.
        """
        peak = max(1.0, float(np.max(np.abs(audio), initial=0.0)))
        data = io.BytesIO()
        soundfile.write(data, audio.T / peak, sample_rate, format="WAV")
        sound = self._tf.compat.v1.Summary.Audio(
            sample_rate=sample_rate,
            num_channels=audio.shape[0],
            length_frames=audio.shape[1],
            encoded_audio_string=data.getvalue(),
            content_type="audio/wav",
        )
        self._write_value(step, tag=tag, audio=sound)

    def image(self, tag, image, step):
        """`image` is `(height, width)`, 0 black … 1 white."""
        gray = np.round(255 * np.clip(image, 0, 1)).astype("uint8")[..., None]
        picture = self._tf.compat.v1.Summary.Image(
            height=gray.shape[0],
            width=gray.shape[1],
            colorspace=1,
            encoded_image_string=self._tf.io.encode_png(gray).numpy(),
        )
        self._write_value(step, tag=tag, image=picture)

    def flush(self):
        self._writer.flush()

    def close(self):
        self._writer.close()


def spectrogram_image(audio, n_fft=1024, floor_db=-80.0):
    """Picture of a spectrogram, low frequencies below.

    Args:
        audio: `(channels, samples)`; the first channel is drawn.
        n_fft: int. Frame length; frames follow each half of it.
        floor_db: float. Level relative to a full-scale sine that is black;
            0 dB is white.

    Returns:
        `(n_fft // 2 + 1, frames)`, 0 … 1.
    """
    padded = np.pad(audio[0], (0, n_fft))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)
    window = np.hanning(n_fft)
    spectrum = np.fft.rfft(frames[:: n_fft // 2] * window)
    magnitude = np.abs(spectrum) * 2 / window.sum()
    level_db = 20 * np.log10(magnitude + 1e-10)
    return np.clip(1 - level_db / floor_db, 0, 1).T[::-1]


def first_example(dataset):
    """A clip to watch: the first example of a dataset's first batch.

    Args:
        dataset: as from `validation_chunks`; has batches `(mixture, {stem:
            target})` by index.

    Returns:
        `(mixture, {stem: target})`, `(channels, samples)` each.
    """
    mixture, targets = dataset[0]
    return mixture[0], {stem: target[0] for stem, target in targets.items()}


class EventLog(keras.callbacks.Callback):
    """Writes logs and a fixed clip's estimates for TensorBoard.

    Scalars go to `train/` and `validation/` under the same names, so that
    TensorBoard draws both in one plot; sounds and spectrograms go to
    `validation/`, the targets once, in the first epoch.

    Args:
        folder: path.
        start_epoch: int. Epoch at which training goes on.
        clip: `(mixture, {stem: target})`, `(channels, samples)` each, or
            `None`.
        clip_every: int. Epochs between two estimates of the clip.

    Raises:
        ValueError: for `clip_every` below 1.
    """

    def __init__(self, folder, start_epoch=0, clip=None, clip_every=10):
        super().__init__()
        clip_every = check_whole("clip_every", clip_every, 1)
        self.folder = pathlib.Path(folder)
        self.start_epoch = start_epoch
        self.clip = clip
        self.clip_every = clip_every

    def on_train_begin(self, logs=None):
        self._files = {
            name: EventFile(self.folder / name, self.start_epoch)
            for name in (TRAIN, VALIDATION)
        }
        if self.clip is not None and self.start_epoch == 0:
            mixture, targets = self.clip
            self._write_audio("mixture", mixture, 0)
            for stem, target in targets.items():
                self._write_audio(f"{stem}/target", target, 0)

    def _write_audio(self, tag, audio, step):
        file = self._files[VALIDATION]
        audio = np.asarray(audio, "float32")
        file.audio(tag, audio, self.model.sample_rate, step)
        file.image(tag, spectrogram_image(audio), step)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            is_validation = name.startswith("val_")
            file = self._files[VALIDATION if is_validation else TRAIN]
            file.scalar(name.removeprefix("val_"), float(value), epoch)
        if self.clip is not None and epoch % self.clip_every == 0:
            mixture = np.asarray(self.clip[0], "float32")[None]
            # A `FeatureLearner` has no encoder, its separator has.
            separator = separator_of(self.model)
            estimates = separator.predict_on_batch(mixture)
            for stem, estimate in estimates.items():
                audio = keras.ops.convert_to_numpy(estimate)[0]
                self._write_audio(f"{stem}/estimate", audio, epoch)
        for file in self._files.values():
            file.flush()

    def on_train_end(self, logs=None):
        for file in self._files.values():
            file.close()
