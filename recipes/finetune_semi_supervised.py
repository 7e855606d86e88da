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
    which on JAX one of them separates.
Hardware: as for training TRAINED, plus disk for the estimates: float32, as
    many channels as stems times the mixture's.
Time: not measured here; a round is a separation of FOLDER and `--epochs`
    epochs.
Expected score: not yet measured with this recipe.
"""

import soundfile
from recipe import PAPER, Recipe, compile_model, run

from keras_bandit.common.files import complete_files
from keras_bandit.data import Gain
from keras_bandit.data.track import Track
from keras_bandit.media import AudioFileError, WavWriter, open_source
from keras_bandit.models import AudioSeparator

CONFIG = {
    **PAPER,
    "stems": ["vocals", "drums", "bass", "other"],
    "rounds": 3,
    "epochs": 10,
    "loss": "L1",
    "dataset": "musdb18_hq",
    "hop_seconds": 3.0,
    "crop_seconds": 3.0,
    "gain_db": 6.0,
    "patience": 5,
    "learning_rate": 1e-4,
}


def build(preset, config):
    """The compiled separator of a preset."""
    separator = AudioSeparator.from_preset(
        preset, stems=config["stems"], dtype=config["dtype"]
    )
    return compile_model(separator, config)


def label_mixture(teacher, path, paths, hop_seconds):
    """Writes the teacher's estimates of a mixture to `{stem: path}`.

    The last stem is what the others leave of the mixture, so that the
    estimates sum to it.
    """
    source, rate = open_source(path), teacher.sample_rate
    if source.sample_rate != rate:
        raise AudioFileError(
            f"{path}: the model's rate is {rate} Hz; got "
            f"{source.sample_rate} Hz (nothing is resampled here)"
        )
    mixture = source.read()
    *others, last = paths
    estimates = teacher.separate(
        mixture,
        rate,
        hop_seconds=hop_seconds,
        stems=others or [last],
    )
    if others:
        estimates[last] = mixture - sum(estimates.values())
    with complete_files(list(paths.values()), overwrite=True) as temporary:
        for stem, audio in estimates.items():
            written = temporary[paths[stem]]
            with WavWriter(written, rate, len(audio), "FLOAT") as file:
                file.write(audio)


class WavTrack(Track):
    """A track whose stems are audio files of one format, `{stem: path}`."""

    def __init__(self, name, paths):
        info = soundfile.info(next(iter(paths.values())))
        super().__init__(
            name, info.samplerate, info.channels, info.frames, paths
        )
        self.paths = paths

    def _read(self, stem, start, stop):
        audio, _ = soundfile.read(
            self.paths[stem],
            start=start,
            stop=stop,
            dtype="float32",
            always_2d=True,
        )
        return audio.T


def label(recipe, teacher, output):
    """The unlabelled mixtures as tracks of the teacher's estimates.

    Several processes separate a part of them each, and need to see the same
    output. Several devices of one process do not: one of them separates all.
    Estimates that are in `output` already stay.
    """
    config, folder = recipe.config, recipe.arguments.unlabelled
    mixtures = sorted(path for path in folder.iterdir() if path.is_file())
    if not mixtures:
        raise ValueError(f"--unlabelled must hold audio files; got {folder}")
    labels = {
        path: {
            stem: output / path.name / f"{stem}.wav" for stem in config["stems"]
        }
        for path in mixtures
    }
    devices = recipe.devices
    for path in mixtures[devices.process_index :: devices.process_count]:
        if not all(label.exists() for label in labels[path].values()):
            (output / path.name).mkdir(parents=True, exist_ok=True)
            label_mixture(teacher, path, labels[path], config["hop_seconds"])
    devices.barrier()  # wait until every process has written its part
    return [WavTrack(path.name, labels[path]) for path in mixtures]


def balance(labelled, pseudo):
    """Both sets, the smaller one as often as makes them equal."""
    count = max(len(labelled), len(pseudo))
    return [
        tracks[i % len(tracks)]
        for tracks in (labelled, pseudo)
        for i in range(count)
    ]


def train_student(recipe, number, teacher, validation):
    """One round: labels the mixtures, and trains a copy of the teacher.

    Returns the preset directory of the best student, and its validation loss.
    """
    config, gain_db = recipe.config, recipe.config["gain_db"]
    trained = recipe.open_run(
        f"round_{number}",
        may_change=["devices"],
        teacher=str(teacher),
        # Labels of another folder's mixtures would be taken for its own.
        unlabelled=str(recipe.arguments.unlabelled),
    )
    separator = AudioSeparator.from_preset(teacher, stems=config["stems"])
    pseudo = label(recipe, separator, trained.directory / "labels")
    with recipe.devices.scope():
        student = build(teacher, config)
        # New mixtures of true stems and estimates, at new levels.
        crops = recipe.crops(
            balance(recipe.tracks("train"), pseudo),
            config["stems"],
            student.sample_rate,
            mixture_stems=config["stems"],
            independent=True,
            augmentations=[Gain(gain_db=(-gain_db, gain_db))],
            peak_margin=0.0,
        )
        history = recipe.fit(trained, student, crops, validation)
    return trained.best, min(float(row["val_loss"]) for row in history)


def main(argv=None, config=CONFIG):
    """Runs the rounds, or goes on; saves the best separator of all."""
    recipe = Recipe(argv, __doc__, config, "preset", "unlabelled")
    config, teacher = recipe.config, recipe.arguments.preset
    with recipe.devices.scope():
        separator = build(teacher, config)
        validation = recipe.chunks(
            recipe.tracks("validation"), config["stems"], separator.sample_rate
        )
        logs = separator.evaluate(
            recipe.devices.share_validation(validation),
            return_dict=True,
            verbose=0,
        )
        recipe.devices.share_logs(logs)
        lowest = logs["loss"]
    print(f"{teacher}: validation loss {lowest:.4g}", flush=True)
    for number in range(1, config["rounds"] + 1):
        student, reached = train_student(recipe, number, teacher, validation)
        print(f"{student}: validation loss {reached:.4g}", flush=True)
        if reached < lowest:
            teacher, lowest = student, reached
    stems = config["stems"]
    recipe.save(lambda: AudioSeparator.from_preset(teacher, stems=stems))


if __name__ == "__main__":
    run(main)
