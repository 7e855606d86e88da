"""A few bars of chords, bass, melody and drums from wavetables."""

import math

import numpy as np

from keras_bandit.data.synthesis import (
    add_sound,
    bell,
    envelope,
    filter_frames,
    oscillate,
    pan_gains,
    wavetable,
    white_noise,
)

_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}

# Instruments: harmonic n has the amplitude n ** -rolloff, times `even` where n
# is even; the sound rises in `attack` s, dies with the time constant `decay` s.
_INSTRUMENTS = {
    "strings": {"rolloff": 1.1, "even": 1.0, "attack": 0.15, "decay": 8.0},
    "brass": {"rolloff": 0.8, "even": 1.0, "attack": 0.06, "decay": 4.0},
    "clarinet": {"rolloff": 1.0, "even": 0.1, "attack": 0.04, "decay": 6.0},
    "flute": {"rolloff": 2.2, "even": 0.7, "attack": 0.07, "decay": 6.0},
    "organ": {"rolloff": 1.4, "even": 1.3, "attack": 0.02, "decay": 20.0},
    "piano": {"rolloff": 1.5, "even": 0.9, "attack": 0.004, "decay": 0.6},
}


def _note(rng, instrument, frequency_hz, seconds, sample_rate):
    """One note of a wavetable instrument: `(samples,)`, peak about 1.

    Two tables are crossfaded, so that high harmonics die first.
    """
    sound = _INSTRUMENTS[instrument]
    length = int(seconds * sample_rate)
    time = np.arange(length) / sample_rate
    highest = int(min(0.45 * sample_rate / frequency_hz, 40))
    harmonic = np.arange(1, max(highest, 1) + 1)
    amplitudes = harmonic ** -sound["rolloff"]
    amplitudes *= np.where(harmonic % 2, 1.0, sound["even"])
    phases = rng.uniform(0, 2 * np.pi, len(harmonic))
    vibrato = 0.003 * np.sin(2 * np.pi * rng.uniform(4, 6) * time)
    vibrato *= np.minimum(time / 0.4, 1.0) * (sound["attack"] > 0.01)
    cycles = np.cumsum(frequency_hz * (1 + vibrato)) / sample_rate
    bright = oscillate(wavetable(amplitudes, phases), cycles)
    dark = oscillate(wavetable(amplitudes / harmonic, phases), cycles)
    fade = np.exp(-time / (0.3 * sound["decay"])).astype("float32")
    tone = dark + fade * (bright - dark)
    return tone * envelope(length, sound["attack"], sound["decay"], sample_rate)


def _pluck(rng, frequency_hz, seconds, sample_rate):
    """A plucked string (Karplus & Strong 1983, Comput. Music J. 7(2)).

    The string's loop averages neighbours once per period. On a circular
    period that multiplies bin k of its spectrum by cos(pi k / period), so all
    periods come from one inverse transform; interpolation then tunes the
    whole number of samples per period to the frequency.
    """
    period = max(round(sample_rate / frequency_hz), 4)
    turns = math.ceil(seconds * frequency_hz) + 1
    spectrum = np.fft.rfft(rng.uniform(-1, 1, period))
    spectrum[0] = 0.0
    loss = 0.996 * np.cos(np.pi * np.arange(len(spectrum)) / period)
    periods = spectrum * loss ** np.arange(turns)[:, None]
    string = np.fft.irfft(periods, period).reshape(-1)
    length = int(seconds * sample_rate)
    position = np.arange(length) * (frequency_hz * period / sample_rate)
    string = np.interp(position, np.arange(len(string)), string)
    string = string / np.abs(string).max()
    string = string * envelope(length, 0.002, 8.0, sample_rate)
    return string.astype("float32")


def _drum(rng, kind, sample_rate):
    """One stroke of a `"kick"`, `"snare"` or `"hat"`."""
    length = int({"kick": 0.25, "snare": 0.2, "hat": 0.06}[kind] * sample_rate)
    time = np.arange(length) / sample_rate
    if kind == "kick":
        frequency = 48 + 90 * np.exp(-time / 0.03)
        tone = np.sin(2 * np.pi * np.cumsum(frequency) / sample_rate)
        return (tone * np.exp(-time / 0.08)).astype("float32")
    centre, octaves = (7500, 0.7) if kind == "hat" else (1800, 1.2)
    fall = np.exp(-time / (length / sample_rate / 4))
    band = bell(centre, octaves, sample_rate)
    noise = filter_frames(white_noise(rng, length) * fall, band, sample_rate)
    noise /= np.abs(noise).max()
    if kind == "hat":
        return 0.4 * noise
    tone = np.sin(2 * np.pi * 190 * time) * np.exp(-time / 0.05)
    return (0.7 * noise + 0.5 * tone).astype("float32")


def _score(rng, beats):
    """Chords, bass and melody: rows of (part, beat, beats, MIDI note)."""
    scale = _SCALES[("major", "minor")[rng.integers(2)]]
    root = int(rng.integers(48, 60))
    bar = int(rng.choice([2, 4]))
    step = float(rng.choice([0.5, 1.0]))
    degree, melody, notes = 0, int(rng.integers(7)), []

    def pitch(scale_step):
        octave, index = divmod(scale_step, 7)
        return root + 12 * octave + scale[index]

    for beat in range(0, beats, bar):
        for third in (0, 2, 4):
            notes.append(("chord", beat, bar, pitch(degree + third)))
        for half in range(0, bar, 2):
            notes.append(("bass", beat + half, 1.8, pitch(degree) - 12))
        for onset in np.arange(beat, beat + bar, step):
            melody = int(np.clip(melody + rng.integers(-2, 3), 2, 13))
            if rng.random() < 0.7:
                length = step * rng.choice([1.0, 1.5])
                notes.append(("melody", onset, length, pitch(melody) + 12))
        degree = int(rng.choice([0, 3, 4, 5, 1]))
    return notes


def generate_music(rng, samples, sample_rate, channels):
    """A few bars `(channels, samples)`, with drums in half the clips."""
    canvas = np.zeros((channels, samples), "float32")
    beat_seconds = 60 / rng.uniform(65, 135)
    beats = math.ceil(samples / sample_rate / beat_seconds)
    names = [*_INSTRUMENTS, "pluck"]
    parts = {}
    for part, level in (("chord", 0.35), ("bass", 0.8), ("melody", 0.6)):
        instrument = names[rng.integers(len(names))]
        parts[part] = instrument, level, pan_gains(rng, channels, 0.6)
    for part, beat, length, midi in _score(rng, beats):
        instrument, level, gains = parts[part]
        frequency_hz = 440 * 2 ** ((midi - 69) / 12)
        seconds = length * beat_seconds
        if instrument == "pluck":
            note = _pluck(rng, frequency_hz, seconds, sample_rate)
        else:
            note = _note(rng, instrument, frequency_hz, seconds, sample_rate)
        note *= level * rng.uniform(0.7, 1.0)
        add_sound(canvas, note, int(beat * beat_seconds * sample_rate), gains)
    if rng.random() < 0.5:
        kinds = ("kick", "snare", "hat")
        strokes = {kind: _drum(rng, kind, sample_rate) for kind in kinds}
        gains = pan_gains(rng, channels, 0.1)
        for half_beat in range(2 * beats):
            kind = ("kick", "hat", "snare", "hat")[half_beat % 4]
            if rng.random() < 0.85:
                start = int(half_beat * beat_seconds / 2 * sample_rate)
                add_sound(canvas, 0.8 * strokes[kind], start, gains)
    return canvas
