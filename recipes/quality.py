"""What the troubles of real films cost a separator: the tables of quality.md.

Clips with known stems are made worse as films are, separated, and scored.
Command, DATA a prepared film_mix of natural_sounds.py's test sounds (see
docs/training.md):
    python recipes/quality.py DATA --preset bandit_demo --page docs/quality.md
Writes: the tables between the two marks of the page; without --page it prints.
Time: 7 minutes of one core for 8 clips of 30 s (bandit_demo, OpenVINO).
"""

import argparse
import datetime
import io
import pathlib

import av
import numpy as np
from recipe import run
from scipy.signal import fftconvolve
from simple_baselines import band_pass
from tabulate import tabulate

from keras_bandit.data import open_tracks
from keras_bandit.evaluation.scores import si_snr
from keras_bandit.inference import separate
from keras_bandit.inference.engines import with_engine
from keras_bandit.models import AudioSeparator
from keras_bandit.models.record import describe_model, versions_of

STEMS = ("speech", "music", "effects")
BEGIN = "<!-- recipes/quality.py writes from here -->\n"
END = "<!-- to here -->"


# Sounds are `(channels, samples)`, rates in Hz.
def in_a_hall(sound, rate, seconds=1.2):
    """Adds a tail as loud as the sound itself, 60 dB down after `seconds`."""
    time = np.arange(1, int(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(time.size)
    tail = noise * 10 ** (-3 * time / seconds)
    tail /= np.linalg.norm(tail)
    response = np.concatenate([[1.0], tail])[None]
    return fftconvolve(sound, response, axes=1)[:, : sound.shape[1]]


def through_aac(sound, rate, bit_rate=48_000):
    """Encodes and decodes one channel, and takes the encoder's delay out."""
    file = io.BytesIO()
    with av.open(file, "w", "adts") as output:
        stream = output.add_stream("aac", rate, layout="mono")
        stream.bit_rate = bit_rate
        samples = np.ascontiguousarray(sound, "float32")
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate = rate
        for given in (frame, None):
            output.mux(stream.encode(given))
    file.seek(0)
    with av.open(file) as source:
        decoded = [x.to_ndarray() for x in source.decode(audio=0)]
    # FFmpeg's encoder puts 1024 samples in front.
    return np.concatenate(decoded, axis=1)[:, 1024:][:, : sound.shape[1]]


def gain(sound, db):
    return sound * 10 ** (db / 20)


def on_all(change):
    return lambda stems, rate: {s: change(x, rate) for s, x in stems.items()}


def on_speech(change):
    return lambda stems, rate: stems | {"speech": change(stems["speech"], rate)}


PHONE, HALL = "telephone: speech 300 to 3400 Hz", "speech in a hall, 1.2 s"
# What each scene does to the stems. The changed stems are mixed, and are the
# targets.
SCENES = {
    "as mixed": on_all(lambda x, rate: x),
    "20 dB quieter": on_all(lambda x, rate: gain(x, -20)),
    "6 dB louder": on_all(lambda x, rate: gain(x, 6)),
    "old film: all 100 to 5000 Hz": on_all(
        lambda x, rate: band_pass(x, rate, 100, 5000)
    ),
    PHONE: on_speech(lambda x, rate: band_pass(x, rate, 300, 3400)),
    HALL: on_speech(in_a_hall),
    "speech 15 dB lower": on_speech(lambda x, rate: gain(x, -15)),
}
CODED = "AAC, 96 kb/s in stereo"  # the mixture alone is coded; targets are not


def measure(separator, tracks, hop_seconds):
    """Scores each scene, and what scenes of one sound leave in each stem.

    Returns:
        Two dicts `{scene: {stem: list of dB, one a clip}}`: the gain of SI-SNR
        over the mixture; and, where the scene is one sound alone, the level of
        each stem over the level of the scene.
    """
    gains, leaks = {}, {}
    for track in tracks:
        rate = track.sample_rate
        clip = {s: track.read(s) for s in STEMS}
        scenes = {name: make(clip, rate) for name, make in SCENES.items()}
        mixtures = {name: sum(stems.values()) for name, stems in scenes.items()}
        scenes[CODED] = clip
        mixtures[CODED] = through_aac(sum(clip.values()), rate)
        for name, stems in scenes.items():
            mixture = mixtures[name].astype("float32")
            found = separate(separator, mixture, rate, hop_seconds=hop_seconds)
            for stem, target in stems.items():
                better = si_snr(target, found[stem]) - si_snr(target, mixture)
                gains.setdefault(name, {}).setdefault(stem, []).append(better)
        alone = clip | {name: scenes[name]["speech"] for name in (PHONE, HALL)}
        for kind, sound in alone.items():
            sound = sound.astype("float32")
            found = separate(separator, sound, rate, hop_seconds=hop_seconds)
            for stem, x in found.items():
                level = 10 * np.log10(np.sum(x**2) / np.sum(sound**2))
                leaks.setdefault(kind, {}).setdefault(stem, []).append(level)
    return gains, leaks


def table(title, rows, worst):
    """A Markdown table: the mean over clips and, in brackets, the worst."""
    lines = [
        [name, *(f"{np.mean(row[s]):.1f} ({worst(row[s]):.1f})" for s in STEMS)]
        for name, row in rows.items()
    ]
    return tabulate(lines, [title, *STEMS], "pipe")


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data_dir", type=pathlib.Path)
    parser.add_argument("--preset", default="bandit_demo")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--hop-seconds", type=float, default=5.0)
    parser.add_argument("--page", type=pathlib.Path)
    options = parser.parse_args(argv)
    tracks = open_tracks("film_mix", "test", options.data_dir)[: options.clips]
    model = AudioSeparator.from_preset(options.preset)
    separator = with_engine(model, "auto")
    gains, leaks = measure(separator, tracks, options.hop_seconds)
    digest = describe_model(model)["weights_sha256"][:16]
    engine = getattr(separator, "engine", "keras")
    used = ", ".join(f"{k} {v}" for k, v in versions_of(engine).items())
    text = f"""
Gain of SI-SNR over the mixture in dB, mean of {len(tracks)} clips (worst clip):

{table("scene", gains, min)}

What a scene of one sound alone leaves in each stem, in dB: 0 is as loud as the scene,
-20 a hundredth of its energy. Mean (worst clip):

{table("the scene is only", leaks, max)}

`{options.preset}`, {model.count_params():,} parameters, weights sha256 {digest}…;
hop {options.hop_seconds:g} s; {datetime.date.today()}; {used}.

"""
    if options.page is None:
        print(text)
        return
    page = options.page.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    options.page.write_text(
        before + BEGIN + text + END + after, encoding="utf-8"
    )


if __name__ == "__main__":
    run(main)
