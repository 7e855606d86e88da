"""What TensorBoard is given, read back from its files."""

import io

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tiny

from keras_bandit.training.event_log import EventLog, spectrogram_image

from ..called import called


def events(folder):
    """All events of a folder's files, in order."""
    found = []
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            found.append(tf.compat.v1.Event.FromString(record.numpy()))
    return found


def values(folder):
    """`{(tag, step): value}` of a folder's summaries."""
    return {
        (value.tag, event.step): value
        for event in events(folder)
        for value in event.summary.value
    }


def clip_of():
    mixture, targets = tiny.batch(0, size=1)
    return mixture[0], {stem: x[0] for stem, x in targets.items()}


def test_a_restart_makes_former_steps_be_forgotten(tmp_path):
    # In the second of the first start, too.
    for start in (0, 3):
        log = EventLog(tmp_path, start)
        log.on_train_begin()
        log.on_train_end()
    assert len([*(tmp_path / "train").iterdir()]) == 2
    header, start = events(tmp_path / "train")[-2:]
    assert header.file_version == "brain.Event:2"
    # Steps from 3 on of former files are to be forgotten.
    assert start.session_log.status == tf.compat.v1.SessionLog.START
    assert start.step == 3


def test_scalars_of_training_and_validation_share_names(tmp_path):
    log = EventLog(tmp_path)
    log.on_train_begin()
    log.on_epoch_end(0, {"loss": 2.0, "si_snr_music": 5.0, "val_loss": 3.0})
    log.on_epoch_end(1, {"loss": 1.0, "si_snr_music": 6.0, "val_loss": 2.5})
    log.on_train_end()
    train = values(tmp_path / "train")
    assert train["loss", 1].simple_value == 1.0
    assert train["si_snr_music", 0].simple_value == 5.0
    assert values(tmp_path / "validation")["loss", 1].simple_value == 2.5


def test_sounds_come_back(tmp_path, separator):
    mixture, targets = clip_of()
    clip = mixture, {"soft": targets["music"], "loud": 50 * targets["music"]}
    log = EventLog(tmp_path, clip=clip)
    log.set_model(separator)
    log.on_train_begin()
    log.on_train_end()
    found = [
        (value.tag, value.audio)
        for event in events(tmp_path / "validation")
        for value in event.summary.value
        if value.HasField("audio")
    ]
    assert [tag for tag, _ in found] == [
        "mixture",
        "soft/target",
        "loud/target",
    ]
    for (_, sound), audio in zip(
        found, [mixture, *clip[1].values()], strict=True
    ):
        read, rate = soundfile.read(io.BytesIO(sound.encoded_audio_string))
        assert rate == sound.sample_rate == separator.sample_rate
        # 16 bits: half a step of rounding, and a step at full scale.
        expected = audio[0] / max(1, np.abs(audio).max())
        np.testing.assert_allclose(read, expected, atol=1.1 / 32768)


def test_picture_shows_a_tone():
    sample_rate, frequency = 8000, 2000
    tone = np.sin(2 * np.pi * frequency * np.arange(8000) / sample_rate)
    image = spectrogram_image(tone[None], n_fft=1024)
    assert image.shape[0] == 513
    # Low frequencies are below: bin 256 of 513 is in the middle.
    assert set(image[:, 3].argsort()[-1:]) == {512 - 256}
    assert image[:, 3].max() == pytest.approx(1.0, abs=0.01)  # 0 dB is white
    assert image[100, 3] == 0


def test_silence_is_black():
    assert not spectrogram_image(np.zeros((1, 2000))).any()


def test_clip_is_written_every_n_epochs(tmp_path, separator):
    log = EventLog(tmp_path, clip=clip_of())
    log.set_model(separator)
    log.on_train_begin()
    for epoch in (0, 1, 10):
        log.on_epoch_end(epoch, {})
    log.on_train_end()
    found = values(tmp_path / "validation")
    assert ("speech/target", 0) in found
    steps = {step for tag, step in found if tag == "music/estimate"}
    assert steps == {0, 10}
    image = found["music/estimate", 0]
    estimate = called(separator, clip_of()[0][None])["music"]
    estimate = keras.ops.convert_to_numpy(estimate)[0]
    # Sounds and pictures of one tag are two values; the picture is the last.
    picture = tf.io.decode_png(image.image.encoded_image_string).numpy()
    expected = np.round(255 * spectrogram_image(estimate))
    assert np.abs(picture[..., 0] - expected).max() <= 1


def test_targets_are_not_written_again(tmp_path, separator):
    log = EventLog(tmp_path, start=1, clip=clip_of())
    log.set_model(separator)
    log.on_train_begin()
    log.on_train_end()
    assert not values(tmp_path / "validation")
