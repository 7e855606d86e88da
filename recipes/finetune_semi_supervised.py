"""Finetune a separator on mixtures without stems: teacher and student.

Paper: Luo & Yu 2023, "Music Source Separation with Band-split RNN",
    arXiv:2209.15174, its semi-supervised finetuning. A teacher separates the
    unlabelled mixtures; a student that starts as its copy learns from those
    estimates and from true stems, in equal parts; where the student is better
    on the validation set, it becomes the teacher of the next round. The number
    of rounds, the remixing and the learning rate are ours.
Command:
    keras-bandit prepare musdb18_hq --manual-dir MUSDB18-HQ --data-dir DATA
    python recipes/finetune_semi_supervised.py --data-dir DATA \
        --preset TRAINED --unlabelled FOLDER --output RUN
    FOLDER holds audio files at the model's rate with the channels of the
    dataset. RUN/round_<n>/ are the runs, RUN/preset the best of all.
    --devices 8 as of bandit_dnr.py: they share a batch, and on PyTorch FOLDER,
    which on JAX and TensorFlow one of them separates.
Hardware: as for training TRAINED, plus disk for the estimates: float32, as
    many channels as stems times the mixture's.
Time: not measured here; a round is a separation of FOLDER and `--epochs`
    epochs.
Expected score: not yet measured with this recipe.
"""

import soundfile

from keras_bandit import losses
from keras_bandit.common.files import complete_files
from keras_bandit.data import (
    Gain,
    open_tracks,
    random_crops,
    validation_chunks,
)
from keras_bandit.data.track import Track
from keras_bandit.inference.audio import (
    AudioFileError,
    read_audio,
    write_audio,
)
from keras_bandit.metrics import SISNR, SNR
from keras_bandit.models import AudioSeparator
from keras_bandit.training import (
    TrainingRun,
    first_example,
    open_devices,
    paper_optimizer,
    parse_recipe,
)

CONFIG = {
    "stems": ["vocals", "drums", "bass", "other"],
    "rounds": 3,
    "epochs": 10,
    "loss": "L1",
    "dataset": "musdb18_hq",
    "storage": "paths",
    "hop_seconds": 3.0,
    "crop_seconds": 3.0,
    "gain_db": 6.0,
    "batch_size": 16,
    "epoch_size": 20_000,
    "validation_hop_seconds": 3.0,
    "validation_batch_size": 2,
    "patience": 5,
    "learning_rate": 1e-4,
    "global_clipnorm": 5.0,
    "num_workers": 0,
    # On PyTorch, the processes that torchrun starts.
    "devices": 1,
}


class FolderTrack(Track):
    """A track whose stems are the WAV files of a folder.

    Args:
        folder: path with `<stem>.wav` for each stem, all of one shape.
        stems: list of str.
    """

    def __init__(self, folder, stems):
        info = soundfile.info(folder / f"{stems[0]}.wav")
        super().__init__(
            folder.name, info.samplerate, info.channels, info.frames, stems
        )
        self.folder = folder

    def _read(self, stem, start, stop):
        audio, _ = soundfile.read(
            self.folder / f"{stem}.wav",
            start=start,
            stop=stop,
            dtype="float32",
            always_2d=True,
        )
        return audio.T


def pseudo_stems(teacher, path, folder, config):
    """Writes the teacher's estimates of a mixture, unless they are there.

    The last stem is what the others leave of the mixture, so that the
    estimates sum to it.
    """
    stems = config["stems"]
    paths = [folder / f"{stem}.wav" for stem in stems]
    if all(path.exists() for path in paths):
        return
    mixture, audio_format = read_audio(path)
    if audio_format.sample_rate != teacher.sample_rate:
        raise AudioFileError(
            f"{path}: the model's rate is {teacher.sample_rate} Hz; got "
            f"{audio_format.sample_rate} Hz (nothing is resampled here)"
        )
    estimates = teacher.separate(
        mixture,
        teacher.sample_rate,
        hop_seconds=config["hop_seconds"],
        stems=stems[:-1] or stems,
    )
    if len(stems) > 1:
        estimates[stems[-1]] = mixture - sum(estimates.values())
    folder.mkdir(parents=True, exist_ok=True)
    with complete_files(paths, overwrite=True) as temporary:
        for stem, path in zip(stems, paths, strict=True):
            write_audio(
                temporary[path],
                estimates[stem],
                teacher.sample_rate,
                "wav",
                "FLOAT",
            )


def label(teacher, unlabelled, output, config, devices):
    """The unlabelled mixtures as tracks of the teacher's estimates.

    Several processes separate a part of them each, and need to see the same
    output. Several devices of one process do not: one of them separates all.
    """
    paths = sorted(p for p in unlabelled.iterdir() if p.is_file())
    if not paths:
        raise ValueError(
            f"--unlabelled must hold audio files; got {unlabelled}"
        )
    for path in paths[devices.process_index :: devices.process_count]:
        pseudo_stems(teacher, path, output / path.name, config)
    devices.barrier()
    return [FolderTrack(output / path.name, config["stems"]) for path in paths]


def balance(labelled, pseudo):
    """Both sets, the smaller one as often as makes them equal."""
    count = max(len(labelled), len(pseudo))
    return [
        tracks[i % len(tracks)]
        for tracks in (labelled, pseudo)
        for i in range(count)
    ]


def training_data(config, tracks, sample_rate, seed, start_epoch):
    """New mixtures of true stems and estimates, at new levels."""
    gain_db = (-config["gain_db"], config["gain_db"])
    return random_crops(
        tracks,
        config["stems"],
        crop_seconds=config["crop_seconds"],
        batch_size=config["batch_size"],
        epoch_size=config["epoch_size"],
        mixture_stems=config["stems"],
        independent=True,
        augmentations=[Gain(gain_db=gain_db)],
        peak_margin=0.0,
        sample_rate=sample_rate,
        seed=seed,
        start_epoch=start_epoch,
        num_workers=config["num_workers"],
    )


def validation_data(config, data_dir, sample_rate):
    """Chunks of the validation tracks."""
    tracks = open_tracks(
        config["dataset"], "validation", data_dir, config["storage"]
    )
    return validation_chunks(
        tracks,
        config["stems"],
        chunk_seconds=config["crop_seconds"],
        hop_seconds=config["validation_hop_seconds"],
        batch_size=config["validation_batch_size"],
        sample_rate=sample_rate,
    )


def build(preset, config):
    """The compiled separator of a preset."""
    separator = AudioSeparator.from_preset(preset, stems=config["stems"])
    separator.compile(
        paper_optimizer(config["learning_rate"], config["global_clipnorm"]),
        loss=losses.get(config["loss"]),
        metrics=[SNR(), SISNR()],
    )
    return separator


def finetune(teacher, number, config, arguments, validation, devices):
    """One round; returns its best student's preset directory and loss."""
    output = arguments.output / f"round_{number}"
    run = TrainingRun(
        output,
        {
            **config,
            "teacher": str(teacher),
            # Labels of another folder's mixtures would be taken for its own.
            "unlabelled": str(arguments.unlabelled),
        },
        arguments.seed,
        may_change=["devices"],
        devices=devices,
    )
    pseudo = label(
        AudioSeparator.from_preset(teacher, stems=config["stems"]),
        arguments.unlabelled,
        output / "labels",
        config,
        devices,
    )
    labelled = open_tracks(
        config["dataset"], "train", arguments.data_dir, config["storage"]
    )
    tracks = balance(labelled, pseudo)
    with devices.scope():
        student = build(teacher, config)
        history = run.fit(
            student,
            lambda epoch: training_data(
                config, tracks, student.sample_rate, arguments.seed, epoch
            ),
            validation,
            clip=first_example(validation),
            epochs=config["epochs"],
            patience=config["patience"],
            steps_per_epoch=config["epoch_size"] // config["batch_size"],
        )
    return run.best, min(float(row["val_loss"]) for row in history)


def main(argv=None, config=CONFIG):
    """Runs the rounds, or goes on; saves the best separator of all."""
    config, arguments = parse_recipe(
        argv, __doc__, config, "preset", "unlabelled"
    )
    devices = open_devices(config["devices"])
    teacher = arguments.preset
    with devices.scope():
        separator = build(teacher, config)
        validation = validation_data(
            config, arguments.data_dir, separator.sample_rate
        )
        lowest = devices.evaluate(separator, validation)["loss"]
    print(f"{teacher}: validation loss {lowest:.4g}", flush=True)
    for number in range(1, config["rounds"] + 1):
        student, reached = finetune(
            teacher, number, config, arguments, validation, devices
        )
        print(f"{student}: validation loss {reached:.4g}", flush=True)
        if reached < lowest:
            teacher, lowest = student, reached
    if devices.process_index == 0:
        best = AudioSeparator.from_preset(teacher, stems=config["stems"])
        best.save_to_preset(arguments.output / "preset")


if __name__ == "__main__":
    main()
