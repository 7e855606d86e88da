"""Short film-like clips with their stems, synthesized with NumPy alone."""

import math

import numpy as np

STEMS = ("speech", "music", "effects")

# Power of each stem relative to the mixture. With these the mixture's SNR is
# +1, -6.8 and -5 dB for speech, music and effects, as on DnR v2 (Petermann et
# al. 2022, arXiv:2110.09958): SNR = 10 log10(p / (1 - p)) for a share p.
_LEVEL_DB = {"speech": -2.5, "music": -7.6, "effects": -6.2}
_LEVEL_SPREAD_DB = 1.5
_MIXTURE_LEVEL_DB = -21.0
_PEAK = 0.95

_TABLE_SIZE = 2048

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


def _frame_length(sample_rate):
    """Samples of a filter frame: the power of two nearest 23 ms."""
    return 2 ** round(math.log2(0.023 * sample_rate))


def _frame_seconds(length, sample_rate):
    """Centres in seconds of the frames `_filter` cuts from `length` samples."""
    hop = _frame_length(sample_rate) // 2
    return np.arange(-(-length // hop) + 1) * hop / sample_rate


def _filter(signal, response, sample_rate):
    """Filters a signal with a response that changes from frame to frame.

    Hann frames that overlap by half sum to one; each is filtered by a product
    of spectra twice its length, so that the filter's tail has room.

    Args:
        signal: `(samples,)`.
        response: `(frames, bins)` or `(1, bins)`, real or complex, at the
            times of `_frame_seconds` and the frequencies of `_bins_hz`.
        sample_rate: int. Hz.

    Returns:
        `(samples,)` float32.
    """
    frame = _frame_length(sample_rate)
    hop = frame // 2
    count = -(-len(signal) // hop) + 1
    padded = np.zeros((count + 1) * hop, "float32")
    padded[hop : hop + len(signal)] = signal
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
    spectra = np.fft.rfft(frames * window.astype("float32"), 2 * frame)
    pieces = np.fft.irfft(spectra * response, 2 * frame)
    pieces = pieces.reshape(count, 4, hop)
    # Piece k covers the half frames k … k + 3.
    out = np.zeros((count + 3, hop), "float32")
    for part in range(4):
        out[part : part + count] += pieces[:, part]
    return out.reshape(-1)[hop : hop + len(signal)]


def _bins_hz(sample_rate):
    frame = _frame_length(sample_rate)
    return np.arange(frame + 1, dtype="float32") * (sample_rate / 2 / frame)


def _bell(centre_hz, octaves, sample_rate):
    """Response `(frames, bins)`: a Gaussian over log frequency."""
    centre_hz = np.atleast_1d(centre_hz).astype("float32")[:, None]
    octaves = np.atleast_1d(octaves).astype("float32")[:, None]
    bins_hz = np.maximum(_bins_hz(sample_rate), 1.0)
    return np.exp(-0.5 * (np.log2(bins_hz / centre_hz) / octaves) ** 2)


def _resonators(centres_hz, widths_hz, sample_rate):
    """Response `(frames, bins)` of two-pole resonators in cascade.

    Each has unit gain at 0 Hz, as in Klatt (1980), J. Acoust. Soc. Am. 67,
    Eq. 2; a cascade of them is a vocal tract without side branches.

    Args:
        centres_hz: `(frames, resonators)`. Centre frequencies.
        widths_hz: `(resonators,)`. -3 dB bandwidths.
        sample_rate: int. Hz.
    """
    delay = np.exp(-2j * np.pi * _bins_hz(sample_rate) / sample_rate)
    delay = delay.astype("complex64")
    response = np.ones((len(centres_hz), len(delay)), "complex64")
    for centres, width in zip(centres_hz.T, widths_hz, strict=True):
        radius = math.exp(-math.pi * width / sample_rate)
        b = 2 * radius * np.cos(2 * np.pi * centres / sample_rate)
        b = b.astype("float32")[:, None]
        gain = 1 - b + radius**2
        response *= gain / (1 - b * delay + radius**2 * delay**2)
    return response


def _wavetable(amplitudes, phases=0.0):
    """One period, `_TABLE_SIZE` samples, of a sum of harmonics."""
    spectrum = np.zeros(_TABLE_SIZE // 2 + 1, "complex128")
    spectrum[1 : len(amplitudes) + 1] = amplitudes * np.exp(1j * phases)
    table = np.fft.irfft(spectrum)
    return (table / np.abs(table).max()).astype("float32")


def _oscillate(table, cycles):
    """Reads a wavetable at phases in cycles, interpolating linearly."""
    position = (cycles % 1.0) * len(table)
    index = position.astype("int32")
    fraction = (position - index).astype("float32")
    table = np.append(table, table[:2])
    return table[index] + fraction * (table[index + 1] - table[index])


def _envelope(length, attack_seconds, decay_seconds, sample_rate):
    """Straight attack, exponential decay, and 10 ms of release."""
    seconds = np.arange(length, dtype="float32") / sample_rate
    envelope = np.minimum(seconds / attack_seconds, 1.0)
    envelope *= np.exp(-seconds / decay_seconds)
    return envelope * np.minimum((seconds[-1] - seconds) / 0.01, 1.0)


def _noise(rng, length):
    return rng.standard_normal(length, dtype="float32")


def _add(canvas, sound, start, gains):
    """Adds a mono sound to `(channels, samples)`, cut at the canvas's end."""
    sound = sound[: max(0, canvas.shape[1] - start)]
    canvas[:, start : start + len(sound)] += gains[:, None] * sound


def _pan(rng, channels, width):
    """Channel gains of unit power; `width` 0 is the centre, 1 the sides."""
    gains = 1 + width * rng.uniform(-1, 1, channels)
    return (gains / np.linalg.norm(gains)).astype("float32")


def _speaker(rng, channels):
    """A voice: pitch, size of the vocal tract, tilt of the glottal pulse."""
    size = rng.uniform(0.0, 1.0)  # 0 a deep male voice, 1 a child's
    return {
        "pitch_hz": 90 * 2 ** (1.5 * size + rng.uniform(-0.2, 0.2)),
        "formant_scale": 0.95 + 0.3 * size,
        "fourth_formant_hz": rng.uniform(3300, 3800),
        "tilt": rng.uniform(0.7, 1.3),
        "breath": rng.uniform(0.01, 0.05),
        "tempo": rng.uniform(0.85, 1.25),
        "gains": _pan(rng, channels, 0.3),
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
    pulse = _wavetable(np.arange(1.0, highest + 1) ** -speaker["tilt"])
    source = _oscillate(pulse, np.cumsum(pitch) / sample_rate)
    source += speaker["breath"] * _noise(rng, len(seconds))
    gain = _curve(
        seconds,
        (onset - 0.01, onset + 0.025, end - 0.03, end),
        (0.0, stress, 0.7 * stress, 0.0),
    )
    return source * gain.astype("float32")


def _utterance(rng, speaker, sample_rate):
    """One phrase of babble: `(samples,)`, vowels and consonant noise."""
    syllables = _syllables(rng, speaker["tempo"])
    length = int((syllables["end"][-1] + 0.1) * sample_rate)
    seconds = np.arange(length) / sample_rate
    frames = _frame_seconds(length, sample_rate)
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
    tract = _resonators(formants, _FORMANT_WIDTHS_HZ, sample_rate)
    voice = _filter(voice, tract, sample_rate)
    voice /= np.sqrt(np.mean(voice**2))

    centre, octaves, _, gain = _CONSONANTS[syllables["consonant"]].T
    gain = gain * np.sqrt(syllables["stress"])
    gain = _curve(
        seconds,
        (onset, onset + 0.3 * (vowel - onset), vowel, vowel + 0.015),
        (0.0, gain, 0.5 * gain, 0.0),
    )
    nearest = np.searchsorted(vowel, frames).clip(max=count - 1)
    colour = _bell(centre[nearest], octaves[nearest], sample_rate)
    noise = _noise(rng, length) * gain.astype("float32")
    return voice + 1.5 * _filter(noise, colour, sample_rate)


def _speech(rng, samples, sample_rate, channels):
    """A dialogue of two or three speakers with pauses between phrases."""
    canvas = np.zeros((channels, samples), "float32")
    speakers = [_speaker(rng, channels) for _ in range(rng.integers(2, 4))]
    start = int(rng.uniform(0, 0.4) * sample_rate)
    while start < samples:
        speaker = speakers[rng.integers(len(speakers))]
        phrase = _utterance(rng, speaker, sample_rate)
        phrase *= 10 ** (rng.uniform(-4, 0) / 20)
        _add(canvas, phrase, start, speaker["gains"])
        start += len(phrase) + int(rng.uniform(0.1, 0.9) * sample_rate)
    return canvas


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
    bright = _oscillate(_wavetable(amplitudes, phases), cycles)
    dark = _oscillate(_wavetable(amplitudes / harmonic, phases), cycles)
    fade = np.exp(-time / (0.3 * sound["decay"])).astype("float32")
    tone = dark + fade * (bright - dark)
    return tone * _envelope(
        length, sound["attack"], sound["decay"], sample_rate
    )


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
    return (string * _envelope(length, 0.002, 8.0, sample_rate)).astype(
        "float32"
    )


def _drum(rng, kind, sample_rate):
    """One stroke of a `"kick"`, `"snare"` or `"hat"`."""
    length = int({"kick": 0.25, "snare": 0.2, "hat": 0.06}[kind] * sample_rate)
    time = np.arange(length) / sample_rate
    if kind == "kick":
        frequency = 48 + 90 * np.exp(-time / 0.03)
        tone = np.sin(2 * np.pi * np.cumsum(frequency) / sample_rate)
        return (tone * np.exp(-time / 0.08)).astype("float32")
    centre, octaves = (7500, 0.7) if kind == "hat" else (1800, 1.2)
    noise = _noise(rng, length) * np.exp(-time / (length / sample_rate / 4))
    noise = _filter(noise, _bell(centre, octaves, sample_rate), sample_rate)
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


def _music(rng, samples, sample_rate, channels):
    """A few bars of chords, bass and melody, with drums in half the clips."""
    canvas = np.zeros((channels, samples), "float32")
    beat_seconds = 60 / rng.uniform(65, 135)
    beats = math.ceil(samples / sample_rate / beat_seconds)
    names = [*_INSTRUMENTS, "pluck"]
    parts = {
        part: (names[rng.integers(len(names))], level, _pan(rng, channels, 0.6))
        for part, level in (("chord", 0.35), ("bass", 0.8), ("melody", 0.6))
    }
    for part, beat, length, midi in _score(rng, beats):
        instrument, level, gains = parts[part]
        frequency_hz = 440 * 2 ** ((midi - 69) / 12)
        seconds = length * beat_seconds
        if instrument == "pluck":
            note = _pluck(rng, frequency_hz, seconds, sample_rate)
        else:
            note = _note(rng, instrument, frequency_hz, seconds, sample_rate)
        note *= level * rng.uniform(0.7, 1.0)
        _add(canvas, note, int(beat * beat_seconds * sample_rate), gains)
    if rng.random() < 0.5:
        strokes = {k: _drum(rng, k, sample_rate) for k in ("kick", "snare")}
        strokes["hat"] = _drum(rng, "hat", sample_rate)
        gains = _pan(rng, channels, 0.1)
        for half_beat in range(2 * beats):
            kind = ("kick", "hat", "snare", "hat")[half_beat % 4]
            if rng.random() < 0.85:
                start = int(half_beat * beat_seconds / 2 * sample_rate)
                _add(canvas, 0.8 * strokes[kind], start, gains)
    return canvas


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
    return sound + 1.5 * _noise(rng, length) * np.exp(-time / 0.006)


def _whoosh(rng, sample_rate):
    """Noise through a band that sweeps up and down again."""
    length = int(rng.uniform(0.4, 1.6) * sample_rate)
    time = np.linspace(0, 1, length, dtype="float32")
    frames = _frame_seconds(length, sample_rate)
    turn = np.sin(np.pi * (frames / frames[-1]) ** rng.uniform(0.5, 2))
    centre = rng.uniform(800, 2500) * 2 ** (rng.uniform(0.5, 2) * turn)
    band = _bell(centre, rng.uniform(0.3, 0.8), sample_rate)
    swell = np.sin(np.pi * time ** rng.uniform(0.5, 2)) ** 2
    return _filter(_noise(rng, length) * swell, band, sample_rate)


def _ticks(rng, sample_rate):
    """Footsteps, a clock, a ratchet: one short click repeated."""
    click = _noise(rng, int(rng.uniform(0.01, 0.06) * sample_rate))
    click *= np.linspace(1, 0, len(click)) ** 4
    band = _bell(1000 * 2 ** rng.uniform(0, 3), 0.9, sample_rate)
    click = _filter(click, band, sample_rate)
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
    frames = _frame_seconds(length, sample_rate)
    centre = 400 + rng.uniform(2000, 5000) * np.exp(-frames / 0.4)
    fall = np.exp(-time / rng.uniform(0.2, 0.6)) * np.minimum(time / 0.004, 1)
    band = _bell(centre, rng.uniform(1.0, 1.6), sample_rate)
    return _filter(_noise(rng, length) * fall, band, sample_rate)


def _engine(rng, sample_rate):
    """A motor that passes: rough pulses, speed and loudness swelling."""
    length = int(rng.uniform(1.2, 3.0) * sample_rate)
    time = np.linspace(0, 1, length)
    firing_hz = rng.uniform(25, 70) * (1 + rng.uniform(-0.3, 0.5) * time)
    roughness = np.interp(time * 60, np.arange(62), rng.normal(0, 0.06, 62))
    cycles = np.cumsum(firing_hz * (1 + roughness)) / sample_rate
    pulse = _wavetable(np.arange(1.0, 60) ** -0.7, rng.uniform(0, 6.28, 59))
    sound = _oscillate(pulse, cycles) + 0.25 * _noise(rng, length)
    body = _bell(rng.uniform(400, 1500), rng.uniform(1, 1.8), sample_rate)
    swell = np.sin(np.pi * time).astype("float32")
    return _filter(sound * swell, body, sample_rate)


def _bed(rng, samples, sample_rate):
    """Background: rain, wind, or the hum of a room; RMS 1."""
    frames = _frame_seconds(samples, sample_rate)
    kind = rng.choice(["rain", "wind", "room"], p=[0.5, 0.35, 0.15])
    if kind == "rain":
        centre, octaves = rng.uniform(3000, 7000), rng.uniform(1.0, 2.0)
    elif kind == "room":
        centre, octaves = rng.uniform(80, 300), rng.uniform(1.0, 1.8)
    else:
        knots = rng.uniform(-1.2, 1.2, int(frames[-1]) + 3)
        drift = np.interp(frames, np.arange(len(knots)), knots)
        centre, octaves = 2000 * 2**drift, 0.5
    band = _bell(centre, octaves, sample_rate)
    bed = _filter(_noise(rng, samples), band, sample_rate)
    if kind == "rain":
        drops = rng.random(samples, dtype="float32") < 60 / sample_rate
        bed += 12 * np.std(bed) * drops * rng.random(samples, dtype="float32")
    return bed / np.sqrt(np.mean(bed**2))


# Rumbling events are rare: they lie where music and speech have their power.
_EVENTS = (_impact, _whoosh, _ticks, _explosion, _engine)
_EVENT_SHARES = (0.25, 0.3, 0.3, 0.1, 0.05)


def _effects(rng, samples, sample_rate, channels):
    """Foreground events over a background bed."""
    canvas = np.zeros((channels, samples), "float32")
    start = int(rng.uniform(0, 0.5) * sample_rate)
    while start < samples:
        event = _EVENTS[rng.choice(len(_EVENTS), p=_EVENT_SHARES)](
            rng, sample_rate
        )
        # A click's RMS says little of its loudness: hold its peak down too.
        event /= max(np.sqrt(np.mean(event**2)), np.abs(event).max() / 8)
        event *= 10 ** (rng.uniform(-8, 0) / 20)
        _add(canvas, event, start, _pan(rng, channels, 0.8))
        start += int(rng.uniform(0.3, 1.8) * sample_rate)
    level = 10 ** (rng.uniform(-20, -10) / 20)
    for gains in np.eye(channels, dtype="float32"):  # a diffuse background
        _add(canvas, level * _bed(rng, samples, sample_rate), 0, gains)
    return canvas


def _check(seconds, sample_rate, channels):
    if not (np.isfinite(seconds) and seconds >= 1):
        raise ValueError(
            "seconds must be finite and at least 1 (less may hold no word); "
            f"got seconds={seconds}"
        )
    if int(sample_rate) != sample_rate or sample_rate < 8000:
        raise ValueError(
            "sample_rate must be a whole number of Hz, at least 8000; got "
            f"sample_rate={sample_rate}"
        )
    if int(channels) != channels or channels < 1:
        raise ValueError(
            f"channels must be a whole number ≥ 1; got channels={channels}"
        )


def film_clip(seconds, sample_rate=44100, channels=1, seed=0):
    """Synthesizes a short film-like clip: speech, music and effects.

    Speech is the babble of two or three speakers: glottal pulses and
    consonant noise through moving formants, in syllables, words and phrases.
    Music has chords, a bass, a melody and, in half the clips, drums. Effects
    are impacts, whooshes, ticks, explosions and engines over rain, wind or
    room noise. The stems' levels scatter by 1.5 dB (standard deviation)
    around those of DnR v2 (Petermann et al. 2022, arXiv:2110.09958): a
    mixture SNR of +1, -6.8 and -5 dB. The mixture is the sum of the stems.

    It stands in for a corpus where none is at hand (demo, tests, examples);
    scores on it say nothing about scores on real films.

    Args:
        seconds: float. Length, at least 1.
        sample_rate: int. Hz, at least 8000.
        channels: int. Sources are panned between channels.
        seed: int ≥ 0 or sequence of them. Same arguments, same clip; another
            length, rate or number of channels gives another clip too.

    Returns:
        A dict of float32 arrays `(channels, samples)`, keys `"speech"`,
        `"music"`, `"effects"`. The absolute values of the stems and of their
        sum stay below 1.

    Raises:
        ValueError: if an argument is out of its range.
    """
    _check(seconds, sample_rate, channels)
    samples = round(seconds * sample_rate)
    rng = np.random.default_rng(seed)
    renderers = (_speech, _music, _effects)
    stems = {}
    for name, render in zip(STEMS, renderers, strict=True):
        stem = render(rng, samples, int(sample_rate), int(channels))
        level_db = _MIXTURE_LEVEL_DB + _LEVEL_DB[name]
        level_db += rng.normal(0, _LEVEL_SPREAD_DB)
        stems[name] = stem * (10 ** (level_db / 20) / np.sqrt(np.mean(stem**2)))
    peak = max(np.abs(x).max() for x in (*stems.values(), sum(stems.values())))
    gain = np.float32(min(1.0, _PEAK / peak))
    return {name: (gain * x).astype("float32") for name, x in stems.items()}
