"""Speech-like babble: glottal pulses and noise through moving formants."""

import numpy as np

from keras_bandit.data.synthesis import (
    add_sound,
    bell,
    filter_frames,
    frame_seconds,
    oscillate,
    pan_gains,
    resonators,
    wavetable,
    white_noise,
)

# F1, F2, F3 in Hz of ten vowels, means of the male speakers in Peterson and
# Barney (1952), J. Acoust. Soc. Am. 24, Table II.
_VOWELS_HZ = np.array(
    [
        (270, 2290, 3010),
        (390, 1990, 2550),
        (530, 1840, 2480),
        (660, 1720, 2410),
        (730, 1090, 2440),
        (570, 840, 2410),
        (440, 1020, 2240),
        (300, 870, 2240),
        (640, 1190, 2390),
        (490, 1350, 1690),
    ],
    dtype="float64",
)
_FORMANT_WIDTHS_HZ = (70.0, 90.0, 130.0, 220.0)

# Consonant noise: centre in Hz, width in octaves, seconds, gain. Fricatives
# last, bursts of plosives are short; the row of gain 0 starts on the vowel.
_CONSONANTS = np.array(
    [
        (7000, 0.45, 0.10, 0.50),  # s
        (3400, 0.40, 0.10, 0.55),  # sh
        (6500, 1.20, 0.08, 0.15),  # f
        (1600, 1.20, 0.06, 0.15),  # h
        (4500, 0.60, 0.025, 0.80),  # t
        (2000, 0.50, 0.030, 0.80),  # k
        (800, 0.80, 0.020, 0.60),  # p
        (1000, 1.00, 0.030, 0.00),
    ]
)


def draw_speaker(rng, channels):
    """A voice: pitch, size of the vocal tract, tilt of the glottal pulse."""
    size = rng.uniform(0.0, 1.0)  # 0 a deep male voice, 1 a child's
    return {
        "pitch_hz": 90 * 2 ** (1.5 * size + rng.uniform(-0.2, 0.2)),
        "formant_scale": 0.95 + 0.3 * size,
        "fourth_formant_hz": rng.uniform(3300, 3800),
        "tilt": rng.uniform(0.7, 1.3),
        "breath": rng.uniform(0.01, 0.05),
        "tempo": rng.uniform(0.85, 1.25),
        "gains": pan_gains(rng, channels, 0.3),
    }


def _syllables(rng, tempo):
    """Rhythm of one phrase: words of one to four syllables, short pauses.

    Returns:
        A dict of arrays `(syllables,)`: `onset`, `vowel`, `end` in seconds
        (consonant from onset to vowel), `consonant` index, `stress` 0 … 1.
    """
    rows, seconds = [], 0.02
    for _ in range(rng.integers(3, 9)):
        count = rng.integers(1, 5)
        stressed = rng.integers(count)
        for syllable in range(count):
            consonant = rng.integers(len(_CONSONANTS))
            stress = 1.0 if syllable == stressed else rng.uniform(0.4, 0.8)
            vowel = seconds + _CONSONANTS[consonant, 2] / tempo
            end = vowel + rng.uniform(0.07, 0.13) * (1 + stress) / tempo
            rows.append((seconds, vowel, end, consonant, stress))
            seconds = end + rng.uniform(0.0, 0.02)
        seconds += rng.choice([0.0, 0.04, 0.15], p=[0.5, 0.35, 0.15]) / tempo
    columns = ("onset", "vowel", "end", "consonant", "stress")
    table = dict(zip(columns, np.array(rows).T, strict=True))
    table["consonant"] = table["consonant"].astype(int)
    return table


def _curve(seconds, times, values):
    """Straight lines through `(syllables, points)`, zero-order at the ends."""
    times = np.stack(times, axis=1).reshape(-1)
    values = np.stack(np.broadcast_arrays(*values), axis=1).reshape(-1)
    # Neighbouring syllables may touch; `np.interp` wants ascending times.
    return np.interp(seconds, np.maximum.accumulate(times), values)


def _voiced(rng, speaker, syllables, seconds, sample_rate):
    """Glottal pulses with their pitch contour: declination, stress, jitter."""
    onset, end = syllables["vowel"], syllables["end"]
    stress = syllables["stress"]
    decline = np.linspace(1.12, 0.88, len(onset))
    accent = decline * (0.9 + 0.2 * stress + rng.uniform(-0.06, 0.06))
    pitch = _curve(seconds, (onset, end), (accent, accent * 0.96))
    pitch *= 1 + 0.012 * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * seconds)
    jitter_seconds = np.arange(0, seconds[-1] + 0.02, 0.01)
    jitter = 0.008 * rng.standard_normal(len(jitter_seconds))
    pitch *= 1 + np.interp(seconds, jitter_seconds, jitter)
    pitch *= speaker["pitch_hz"]
    highest = int(min(0.45 * sample_rate / pitch.max(), 100))
    pulse = wavetable(np.arange(1.0, highest + 1) ** -speaker["tilt"])
    source = oscillate(pulse, np.cumsum(pitch) / sample_rate)
    source += speaker["breath"] * white_noise(rng, len(seconds))
    times = onset - 0.01, onset + 0.025, end - 0.03, end
    gain = _curve(seconds, times, (0.0, stress, 0.7 * stress, 0.0))
    return source * gain.astype("float32")


def utterance(rng, speaker, sample_rate):
    """One phrase of babble: `(samples,)`, vowels and consonant noise."""
    syllables = _syllables(rng, speaker["tempo"])
    length = int((syllables["end"][-1] + 0.1) * sample_rate)
    seconds = np.arange(length) / sample_rate
    frames = frame_seconds(length, sample_rate)
    onset, vowel = syllables["onset"], syllables["vowel"]

    count = len(onset)
    first = _VOWELS_HZ[rng.integers(len(_VOWELS_HZ), size=count)]
    last = _VOWELS_HZ[rng.integers(len(_VOWELS_HZ), size=count)]
    glide = rng.uniform(0, 0.7, (count, 1))  # diphthongs, and coarticulation
    last = first + glide * (last - first)
    formants = [
        _curve(frames, (vowel, syllables["end"]), (first[:, i], last[:, i]))
        for i in range(3)
    ]
    formants.append(np.full(len(frames), speaker["fourth_formant_hz"]))
    formants = np.stack(formants, axis=1) * speaker["formant_scale"]
    formants = np.minimum(formants, 0.45 * sample_rate)
    voice = _voiced(rng, speaker, syllables, seconds, sample_rate)
    tract = resonators(formants, _FORMANT_WIDTHS_HZ, sample_rate)
    voice = filter_frames(voice, tract, sample_rate)
    voice /= np.sqrt(np.mean(voice**2))

    centre, octaves, _, gain = _CONSONANTS[syllables["consonant"]].T
    gain = gain * np.sqrt(syllables["stress"])
    times = onset, onset + 0.3 * (vowel - onset), vowel, vowel + 0.015
    gain = _curve(seconds, times, (0.0, gain, 0.5 * gain, 0.0))
    nearest = np.searchsorted(vowel, frames).clip(max=count - 1)
    colour = bell(centre[nearest], octaves[nearest], sample_rate)
    noise = white_noise(rng, length) * gain.astype("float32")
    return voice + 1.5 * filter_frames(noise, colour, sample_rate)


def generate_speech(rng, samples, sample_rate, channels):
    """Two or three speakers with pauses between: `(channels, samples)`."""
    canvas = np.zeros((channels, samples), "float32")
    speakers = [draw_speaker(rng, channels) for _ in range(rng.integers(2, 4))]
    start = int(rng.uniform(0, 0.4) * sample_rate)
    while start < samples:
        speaker = speakers[rng.integers(len(speakers))]
        phrase = utterance(rng, speaker, sample_rate)
        phrase *= 10 ** (rng.uniform(-4, 0) / 20)
        add_sound(canvas, phrase, start, speaker["gains"])
        start += len(phrase) + int(rng.uniform(0.1, 0.9) * sample_rate)
    return canvas
