"""Demo: separate a clip with `bandit_demo`, print the gains, draw the picture.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539; the small preset of
    recipes/bandit_demo.py. A demonstration, not film-grade.
Command: make demo, or python recipes/demo.py --clip FOLDER for a clip of your
    own: speech, music and effects (or sfx) as audio files, and mix, if it is
    not their sum. The default, demo_clip/, has recorded sounds (CREDITS.md).
Hardware: 2 CPU cores, 4 GiB.
Time: under a minute, most of it imports and compilation.
Expected score: docs/training.md, "The demonstration preset".
"""

import argparse
import pathlib
import sys

import soundfile
from matplotlib.figure import Figure
from recipe import run
from tabulate import tabulate

# isort: split
import keras

from keras_bandit.evaluation.scores import si_snr, snr
from keras_bandit.media import open_source
from keras_bandit.models import AudioSeparator
from keras_bandit.training.event_log import spectrogram_image

CLIP = pathlib.Path(__file__).with_name("demo_clip")
STEMS = ["speech", "music", "effects"]
# Of chunks of 6 s: each sample is computed four times.
HOP_SECONDS = 1.5


def read_clip(folder):
    """Mixture, `{stem: audio}` and rate of a folder's stems and `mix`."""
    names = {stem: [stem] for stem in STEMS} | {"mix": ["mix", "mixture"]}
    names["effects"] = ["effects", "sfx"]
    audio, rate = {}, None
    for name, choices in names.items():
        found = [p for n in choices for p in sorted(folder.glob(f"{n}.*"))]
        if not found and name == "mix":
            audio["mix"] = sum(audio.values())
            break
        if not found:
            known = " or ".join(choices)
            raise ValueError(f"--clip must hold {known}; got {folder}")
        source = open_source(found[0])
        audio[name] = source.read()
        has = source.sample_rate, audio[name].shape
        rate = rate or has[0]
        if has != (rate, audio["speech"].shape):
            raise ValueError(
                f"{found[0]} must have the rate and shape of speech; got "
                f"{has[0]} Hz, {has[1]}"
            )
    return audio.pop("mix"), audio, rate


def score(mixture, targets, estimates):
    """`{stem: [SNR before, after, gain, SI-SNR before, after, gain]}`, dB."""
    scores = {stem: [] for stem in targets}
    for stem, target in targets.items():
        for ratio in (snr, si_snr):
            ends = ratio(target, mixture), ratio(target, estimates[stem])
            scores[stem] += [*ends, ends[1] - ends[0]]
    return scores


def table(scores):
    """The scores as lines of text."""
    columns = ["mixture", "estimate", "gain"]
    heads = [f"{ratio}\n{c}" for ratio in ("SNR", "SI-SNR") for c in columns]
    return tabulate(
        [[stem, *values] for stem, values in scores.items()],
        ["dB", *heads],
        "plain",
        floatfmt=("", *(".1f", ".1f", "+.1f") * 2),
    )


def draw(mixture, targets, estimates, sample_rate):
    """Spectrograms: the mixture, then targets beside estimates; a Figure."""
    figure = Figure(figsize=(12, 12), layout="constrained")
    axes = figure.subplots(len(targets) + 1, 2, sharex=True, sharey=True)
    panels = [("mixture", mixture), None]
    for stem, target in targets.items():
        panels.append((f"{stem}: target", target))
        panels.append((f"{stem}: estimate", estimates[stem]))
    extent = [0, mixture.shape[-1] / sample_rate, 0, sample_rate / 2000]
    for axis, panel in zip(axes.flat, panels, strict=True):
        if panel is None:
            axis.set_axis_off()
            continue
        title, audio = panel
        image = spectrogram_image(audio, 2048)  # white: full scale, 0 dB
        axis.imshow(image, "magma", aspect="auto", extent=extent)
        axis.set(title=title, xlabel="time (s)", ylabel="frequency (kHz)")
        axis.label_outer()
    return figure


def save(output, mixture, targets, estimates, sample_rate, mp3=None):
    """Writes mixture, targets, estimates (float WAV) and the picture.

    Args:
        mp3: path of a folder for the same sounds as MP3, about 45 kbit/s a
            channel, for web pages; `None` writes none.
    """
    output.mkdir(parents=True, exist_ok=True)
    files = {f"target_{stem}": audio for stem, audio in targets.items()}
    files |= {f"estimate_{stem}": audio for stem, audio in estimates.items()}
    for name, audio in {"mixture": mixture, **files}.items():
        path = output / f"{name}.wav"
        soundfile.write(path, audio.T, sample_rate, subtype="FLOAT")
        if mp3:
            mp3.mkdir(parents=True, exist_ok=True)
            soundfile.write(
                mp3 / f"{name}.mp3",
                audio.T,
                sample_rate,
                bitrate_mode="VARIABLE",
                compression_level=0.9,
            )
    figure = draw(mixture, targets, estimates, sample_rate)
    figure.savefig(output / "spectrograms.png", dpi=80)


def report(separator, mixture, targets, sample_rate, output, mp3=None):
    """Separates, saves, prints; the exit status, 1 if a stem gains no SI-SNR."""
    seconds = mixture.shape[-1] / sample_rate
    print(f"separating {seconds:g} s on {keras.config.backend()}", flush=True)
    estimates = separator.separate(
        mixture, sample_rate, hop_seconds=HOP_SECONDS
    )
    save(output, mixture, targets, estimates, sample_rate, mp3)
    scores = score(mixture, targets, estimates)
    print(table(scores))
    print(f"stems and spectrograms.png are in {output}/")
    worse = [stem for stem, values in scores.items() if not values[-1] > 0]
    if worse:
        print(f"no gain in SI-SNR: {', '.join(worse)}", file=sys.stderr)
    return 1 if worse else 0


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    path = pathlib.Path
    parser.add_argument("--clip", type=path, metavar="FOLDER", default=CLIP)
    parser.add_argument("--preset", default="bandit_demo")
    parser.add_argument("--output", type=path, default=path("demo_output"))
    parser.add_argument(
        "--mp3",
        type=path,
        metavar="FOLDER",
        help="also the sounds as MP3; docs/audio has them",
    )
    arguments = parser.parse_args(argv)
    mixture, targets, sample_rate = read_clip(arguments.clip)
    separator = AudioSeparator.from_preset(arguments.preset, stems=STEMS)
    places = arguments.output, arguments.mp3
    return report(separator, mixture, targets, sample_rate, *places)


if __name__ == "__main__":
    run(main)
