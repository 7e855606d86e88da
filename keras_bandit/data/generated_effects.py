"""Sound effects: impacts, whooshes, engines, and backgrounds of noise."""

import numpy as np

from keras_bandit.data.synthesis import (
    add_sound,
    bell,
    filter_frames,
    frame_seconds,
    oscillate,
    pan_gains,
    wavetable,
    white_noise,
)


def _impact(rng, sample_rate):
    """A thud, knock or clang: a few damped inharmonic modes and a click."""
    length = int(rng.uniform(0.2, 1.2) * sample_rate)
    time = np.arange(length, dtype="float32") / sample_rate
    lowest = 200 * 2 ** rng.uniform(0, 4)
    modes = lowest * np.cumsum(rng.uniform(0.4, 1.4, 7))
    modes = np.minimum(modes, 0.45 * sample_rate)
    damping = rng.uniform(8, 30) * (modes / modes[0]) ** rng.uniform(0.3, 1)
    weights = rng.uniform(0.2, 1, 7)
    sound = sum(
        weight * np.exp(-rate * time) * np.sin(2 * np.pi * mode * time)
        for weight, rate, mode in zip(weights, damping, modes, strict=True)
    )
    return sound + 1.5 * white_noise(rng, length) * np.exp(-time / 0.006)


def _whoosh(rng, sample_rate):
    """Noise through a band that sweeps up and down again."""
    length = int(rng.uniform(0.4, 1.6) * sample_rate)
    time = np.linspace(0, 1, length, dtype="float32")
    frames = frame_seconds(length, sample_rate)
    turn = np.sin(np.pi * (frames / frames[-1]) ** rng.uniform(0.5, 2))
    centre = rng.uniform(800, 2500) * 2 ** (rng.uniform(0.5, 2) * turn)
    band = bell(centre, rng.uniform(0.3, 0.8), sample_rate)
    swell = np.sin(np.pi * time ** rng.uniform(0.5, 2)) ** 2
    return filter_frames(white_noise(rng, length) * swell, band, sample_rate)


def _ticks(rng, sample_rate):
    """Footsteps, a clock, a ratchet: one short click repeated."""
    click = white_noise(rng, int(rng.uniform(0.01, 0.06) * sample_rate))
    click *= np.linspace(1, 0, len(click)) ** 4
    band = bell(1000 * 2 ** rng.uniform(0, 3), 0.9, sample_rate)
    click = filter_frames(click, band, sample_rate)
    gap = int(rng.uniform(0.08, 0.6) * sample_rate)
    sound = np.zeros(int(rng.integers(3, 9)) * gap + len(click), "float32")
    for start in range(0, len(sound) - len(click), gap):
        start += int(rng.uniform(0, 0.1) * gap)
        piece = sound[start : start + len(click)]
        piece += click[: len(piece)] * rng.uniform(0.6, 1)
    return sound


def _explosion(rng, sample_rate):
    """A burst of noise whose band falls to a long rumble."""
    length = int(rng.uniform(1.0, 2.5) * sample_rate)
    time = np.arange(length, dtype="float32") / sample_rate
    frames = frame_seconds(length, sample_rate)
    centre = 400 + rng.uniform(2000, 5000) * np.exp(-frames / 0.4)
    fall = np.exp(-time / rng.uniform(0.2, 0.6)) * np.minimum(time / 0.004, 1)
    band = bell(centre, rng.uniform(1.0, 1.6), sample_rate)
    return filter_frames(white_noise(rng, length) * fall, band, sample_rate)


def _engine(rng, sample_rate):
    """A motor that passes: rough pulses, speed and loudness swelling."""
    length = int(rng.uniform(1.2, 3.0) * sample_rate)
    time = np.linspace(0, 1, length)
    firing_hz = rng.uniform(25, 70) * (1 + rng.uniform(-0.3, 0.5) * time)
    roughness = np.interp(time * 60, np.arange(62), rng.normal(0, 0.06, 62))
    cycles = np.cumsum(firing_hz * (1 + roughness)) / sample_rate
    pulse = wavetable(np.arange(1.0, 60) ** -0.7, rng.uniform(0, 6.28, 59))
    sound = oscillate(pulse, cycles) + 0.25 * white_noise(rng, length)
    body = bell(rng.uniform(400, 1500), rng.uniform(1, 1.8), sample_rate)
    swell = np.sin(np.pi * time).astype("float32")
    return filter_frames(sound * swell, body, sample_rate)


def generate_background(rng, samples, sample_rate):
    """Background: rain, wind, or the hum of a room; RMS 1."""
    frames = frame_seconds(samples, sample_rate)
    kind = rng.choice(["rain", "wind", "room"], p=[0.5, 0.35, 0.15])
    if kind == "rain":
        centre, octaves = rng.uniform(3000, 7000), rng.uniform(1.0, 2.0)
    elif kind == "room":
        centre, octaves = rng.uniform(80, 300), rng.uniform(1.0, 1.8)
    else:
        knots = rng.uniform(-1.2, 1.2, int(frames[-1]) + 3)
        drift = np.interp(frames, np.arange(len(knots)), knots)
        centre, octaves = 2000 * 2**drift, 0.5
    band = bell(centre, octaves, sample_rate)
    bed = filter_frames(white_noise(rng, samples), band, sample_rate)
    if kind == "rain":
        drops = rng.random(samples, dtype="float32") < 60 / sample_rate
        bed += 12 * np.std(bed) * drops * rng.random(samples, dtype="float32")
    return bed / np.sqrt(np.mean(bed**2))


# Rumbling events are rare: they lie where music and speech have their power.
_EVENTS = (_impact, _whoosh, _ticks, _explosion, _engine)
_EVENT_SHARES = (0.25, 0.3, 0.3, 0.1, 0.05)


def generate_event(rng, sample_rate):
    """One foreground event `(samples,)` of 0.1 … 6 s; RMS 1 or less.

    The peak is at most 8: a click's RMS says little about its loudness.
    """
    event = _EVENTS[rng.choice(len(_EVENTS), p=_EVENT_SHARES)](rng, sample_rate)
    event /= max(np.sqrt(np.mean(event**2)), np.abs(event).max() / 8)
    return event


def generate_effects(rng, samples, sample_rate, channels):
    """Foreground events over a background: `(channels, samples)`."""
    canvas = np.zeros((channels, samples), "float32")
    start = int(rng.uniform(0, 0.5) * sample_rate)
    while start < samples:
        event = generate_event(rng, sample_rate)
        event *= 10 ** (rng.uniform(-8, 0) / 20)
        add_sound(canvas, event, start, pan_gains(rng, channels, 0.8))
        start += int(rng.uniform(0.3, 1.8) * sample_rate)
    level = 10 ** (rng.uniform(-20, -10) / 20)
    for gains in np.eye(channels, dtype="float32"):  # a diffuse background
        background = generate_background(rng, samples, sample_rate)
        add_sound(canvas, level * background, 0, gains)
    return canvas
