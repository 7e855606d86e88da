"""Render film-like clips with their stems from Debian's synthesizers.

Speech is espeak-ng's, music is composed at random and played by fluidsynth
with the soundfont FluidR3_GM, effects are the machine's sound files, the
soundfont's and the package's own (`keras_bandit.data`). Clips lie in the
folders of DnR v2, `OUT/{tr,cv,tt}/<number>/{mix,speech,music,sfx}.wav`, 16
bits; with --drums also drums.wav and melody.wav, whose sum is music.wav. The
mixture is exactly the sum of the stems. Voices, languages, instruments, drum
kits, sound files and seeds of the three splits are disjoint.

Paper: levels near those of DnR v2, Petermann et al. 2022, "The Cocktail Fork
    Problem", arXiv:2110.09958; the rest is ours.
Command: python recipes/render_film_clips.py OUT --train 300 --validation 20
    --test 20 --seconds 12 --drums
Hardware: one CPU core, 1 GiB; Debian's espeak-ng, fluidsynth,
    fluid-soundfont-gm, sound-theme-freedesktop and alsa-utils.
Time: 0.7 s per clip of 12 s, mono at 44.1 kHz, on one of two busy cores.
Expected: mixture SNR about +2 dB (speech), -6.5 dB (music), -6 dB (effects).
"""

import argparse
import concurrent.futures
import functools
import json
import math
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

from keras_bandit.common.files import write_text
from keras_bandit.data.generated_effects import (
    generate_background,
    generate_event,
)
from keras_bandit.data.synthesis import (
    add_sound,
    bell,
    filter_frames,
    pan_gains,
    white_noise,
)

SPLITS = ("tr", "cv", "tt")

CONFIG = {
    # RMS of the active parts, dB full scale, uniform within ± spread.
    "levels_db": {"speech": -20.6, "music": -27.0, "sfx": -26.0},
    "spread_db": 3.0,
    "peak": 0.95,
    # Clips cut from one song. A song costs most: the soundfont is 148 MB.
    "clips_per_song": {"tr": 4, "cv": 1, "tt": 1},
    "soundfont": "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "effect_files": "/usr/share/sounds/freedesktop/stereo",
    "speech_files": "/usr/share/sounds/alsa",
}

PROGRAMS = {"espeak-ng": "espeak-ng", "fluidsynth": "fluidsynth"}
FILES = {
    "soundfont": "fluid-soundfont-gm",
    "effect_files": "sound-theme-freedesktop",
    "speech_files": "alsa-utils",
}

# Word lists; _ is the empty word. A voice is a language, of those read from
# Latin letters, spoken by a variant (timbre).
LANGUAGES = {
    "tr": "en-us en-gb en-029 en-gb-x-rp en-us-nyc de fr-fr fr-be es es-419 "
    "pt-br nl pl sv it da nb cs ro id sw eo lt la ca tr af pap lb",
    "cv": "en-gb-x-gbclan fi sk eu sl",
    "tt": "en-gb-scotland en-gb-x-gbcwmd hu pt hr et cy",
}
VARIANTS = {
    "tr": "_ f1 f2 f4 m1 m2 m3 m5 m7 m8 Alex Alicia Andy Diogo Gene Hugo Jacky "
    "Lee Marco Michael Mike adam anika announcer antonio aunty boris david ed "
    "edward grandma grandpa iven john kaukovalta klatt klatt2 klatt4 linda max "
    "michel miguel norbert pablo pedro quincy rob steph sandro zac",
    "cv": "f3 m4 Annie belinda paul klatt3 victor",
    "tt": "f5 m6 Andrea Denis Mario benjamin caleb robert shelby steph3 klatt6 "
    "travis",
}
WORDS = (
    "the door was open when they came back nobody said a word about river we "
    "should leave before dawn tell me what you saw in old house there is no "
    "time left listen to carefully train never stopped here she looked at "
    "letter and laughed will find another way out of this city tonight he "
    "knows everything but my father would not believe it after war how many "
    "people are waiting outside give them money run quickly yes please stay "
    "with us until morning where did go yesterday those children sing water "
    "mountain seven thousand miles captain doctor judge queen forget promise "
    "strange machine green valley broken glass fire soldiers three brothers "
    "garden whisper thunder justice evidence minister laboratory secretary "
    "enough always thought through although perhaps question answer beautiful "
    "dangerous telephone kitchen hospital airplane yellow purple shadow voyage"
)
ONSETS = "b d f g k l m n p r s t v z ch sh st tr pl br kr gl fl"
VOWELS = "a e i o u ai ou ei au ie"
CODAS = "_ _ _ n r s l m t k st nd x"

# The families of 8 programs of General MIDI up to the ethnic ones; the seventh
# of each is heard in cv only, the third in tt only.
FAMILIES = range(14)
PLACES = {"tr": (0, 1, 3, 4, 5, 7), "cv": (6,), "tt": (2,)}
PADS = (2, 5, 6, 7, 8, 11, 12)  # families that hold a chord
BASS = 4
KITS = {"tr": (0, 8, 16, 25, 40, 48), "cv": (24,), "tt": (32,)}
# Programs 120 … 127 are sounds of nature and machines: effects, not music.
EFFECT_PROGRAMS = {
    "tr": (121, 122, 123, 125, 126),
    "cv": (120,),
    "tt": (124, 127),
}

SCALES = (
    (0, 2, 4, 5, 7, 9, 11),  # major
    (0, 2, 3, 5, 7, 8, 10),  # natural minor
    (0, 2, 3, 5, 7, 8, 11),  # harmonic minor
    (0, 2, 3, 5, 7, 9, 10),  # Dorian
    (0, 2, 4, 5, 7, 9, 10),  # Mixolydian
    (0, 1, 3, 5, 7, 8, 10),  # Phrygian
    (0, 2, 4, 6, 7, 9, 11),  # Lydian
)
PROGRESSIONS = (
    (0, 3, 4, 0),
    (0, 5, 3, 4),
    (0, 4, 5, 3),
    (0, 6, 5, 4),
    (1, 4, 0, 0),
    (0, 2, 3, 3),
    (5, 3, 0, 4),
    (0, 0, 3, 3),
)
# Probability of a stroke on each sixteenth of a bar of four, repeated or cut
# for other metres: {MIDI drum: pattern}; digits are tenths.
GROOVES = (
    {36: "9010009019100000", 38: "0000900100009001", 42: "9090909090909090"},
    {36: "9000900090009000", 39: "0000900000009000", 46: "0090009000900090"},
    {36: "9000000000300000", 38: "0000000090000000", 51: "9000900090009000"},
    {36: "9003009000300900", 37: "0090090009009000", 70: "9797979797979797"},
    {41: "9000500090050005", 45: "0030005000300500", 48: "0000300500000555"},
    {62: "5050050550500505", 64: "0505500050055000", 54: "0900090009000900"},
    {36: "8020002080200020", 38: "0000800000008000", 44: "0000900000009000"},
    {56: "9009009000900900", 63: "4444444444444444", 36: "9000000090000000"},
)
TICKS = 480  # per quarter note


def check_programs(config):
    """What is missing, as one message that names Debian's packages; or None."""
    missing = [p for name, p in PROGRAMS.items() if not shutil.which(name)]
    missing += [p for key, p in FILES.items() if not Path(config[key]).exists()]
    if not missing:
        return None
    return (
        f"missing Debian packages: {' '.join(missing)}; install them with "
        f"apt-get install -y {' '.join(missing)}"
    )


def draw(rng, words):
    """One word of a list in a string."""
    words = words.split()
    return words[rng.integers(len(words))].strip("_")


def sentence(rng):
    """Words and invented words with the punctuation that shapes intonation."""
    words = []
    for _ in range(rng.integers(4, 15)):
        if rng.random() < 0.65:
            word = draw(rng, WORDS)
        else:
            word = "".join(
                draw(rng, part)
                for _ in range(rng.integers(1, 4))
                for part in (ONSETS, VOWELS, CODAS)
            )
        words.append(word + ("," if rng.random() < 0.1 else ""))
    return " ".join(words) + str(rng.choice([".", "?", "!", ""]))


def say(voice, words_per_minute, pitch, text):
    """espeak-ng's audio `(samples,)` and its rate in Hz."""
    command = ["espeak-ng", "--stdout", "-z", "-v", voice]
    command += ["-s", str(words_per_minute), "-p", str(pitch), text]
    wave = subprocess.run(command, check=True, capture_output=True).stdout
    rate = struct.unpack("<I", wave[24:28])[0]
    return np.frombuffer(wave[44:], "<i2").astype("float32") / 32768, rate


@functools.cache
def load(path):
    """A sound file's mean over channels `(samples,)` and its rate in Hz."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return audio.mean(1), rate


@functools.cache
def effect_files(folder, split):
    """The split's sound files: every tenth in cv, two of ten in tt."""
    # Spoken channel names are speech, not effects.
    files = sorted(
        str(p) for p in Path(folder).glob("*.oga") if "channel" not in p.name
    )
    places = {"tr": (0, 1, 2, 4, 5, 6, 8), "cv": (3,), "tt": (7, 9)}[split]
    return [f for i, f in enumerate(files) if i % 10 in places]


def convolve(signal, response):
    """Linear convolution, cut to the signal's length; last axis is time."""
    length = signal.shape[-1] + len(response) - 1
    size = 1 << (length - 1).bit_length()
    spectrum = np.fft.rfft(signal, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[..., : signal.shape[-1]]


def reverberate(rng, audio, sample_rate):
    """Adds a room: noise that dies exponentially within 0.15 … 1.5 s."""
    decay = rng.uniform(0.15, 1.5)
    length = int(decay * sample_rate)
    time = np.arange(length) / sample_rate
    tail = white_noise(rng, length) * np.exp(-6.9 * time / decay)
    tail = np.convolve(tail, np.ones(3) / 3, "same")
    tail *= rng.uniform(0.1, 0.6) / np.linalg.norm(tail)
    tail[0] = 1.0
    return convolve(audio, tail).astype("float32")


def colour(rng, signal, sample_rate):
    """A random broad band, as a wall, a distance or a small speaker leave."""
    centre = 300 * 2 ** rng.uniform(0, 4)
    band = bell(centre, rng.uniform(1.2, 3.0), sample_rate)
    return filter_frames(signal, band, sample_rate)


def draw_speaker(rng, split, channels):
    """A voice of the split: espeak-ng's arguments, size of the head, place."""
    language = draw(rng, LANGUAGES[split])
    variant = draw(rng, VARIANTS[split])
    return {
        "voice": language + (f"+{variant}" if variant else ""),
        "words_per_minute": int(rng.integers(125, 200)),
        "pitch": int(rng.integers(15, 85)),
        # Played faster or slower: formants move with it.
        "stretch": rng.uniform(0.88, 1.12),
        "gains": pan_gains(rng, channels, 0.3),
    }


def utterance(rng, split, speaker, config, sample_rate):
    """One sentence `(samples,)` with a peak of 1."""
    recordings = sorted(Path(config["speech_files"]).glob("*_*.wav"))
    # The one recorded voice belongs to the training split.
    if split == "tr" and rng.random() < 0.06:
        audio, rate = load(recordings[rng.integers(len(recordings))])
    else:
        audio, rate = say(
            speaker["voice"],
            speaker["words_per_minute"],
            speaker["pitch"],
            sentence(rng),
        )
    audio = soxr.resample(audio, rate * speaker["stretch"], sample_rate)
    return audio / (np.abs(audio).max() + 1e-9)


def render_speech(rng, split, samples, sample_rate, channels, config):
    """One to three speakers with pauses: `(channels, samples)`."""
    canvas = np.zeros((channels, samples), "float32")
    speakers = [
        draw_speaker(rng, split, channels) for _ in range(rng.integers(1, 4))
    ]
    start = int(rng.uniform(0, 0.5) * sample_rate)
    while start < samples:
        speaker = speakers[rng.integers(len(speakers))]
        audio = utterance(rng, split, speaker, config, sample_rate)
        audio *= 10 ** (rng.uniform(-6, 0) / 20)
        add_sound(canvas, audio, start, speaker["gains"])
        pause = (
            rng.uniform(0.15, 1.4)
            if rng.random() < 0.9
            else rng.uniform(1.4, 4)
        )
        start += len(audio) + int(pause * sample_rate)
    if rng.random() < 0.35:
        canvas = reverberate(rng, canvas, sample_rate)
    if rng.random() < 0.06:
        canvas = np.stack([colour(rng, x, sample_rate) for x in canvas])
    return canvas


def midi_file(events, tempo):
    """A MIDI file of one track, from rows (tick, message)."""

    def variable(value):
        out = [value & 127]
        while value := value >> 7:
            out.insert(0, (value & 127) | 128)
        return bytes(out)

    microseconds = struct.pack(">I", round(60e6 / tempo))[1:]
    track, last = b"\x00\xff\x51\x03" + microseconds, 0
    for tick, message in sorted(events, key=lambda event: event[0]):
        track += variable(tick - last) + message
        last = tick
    track += b"\x00\xff\x2f\x00"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS)
    return header + b"MTrk" + struct.pack(">I", len(track)) + track


def play(midi, sample_rate, soundfont, room=0.2):
    """fluidsynth's float audio `(2, samples)` of a MIDI file."""
    with tempfile.TemporaryDirectory() as folder:
        score, wave = Path(folder, "song.mid"), Path(folder, "song.wav")
        score.write_bytes(midi)
        command = ["fluidsynth", "-ni", "-q", "-g", "0.3", "-T", "wav"]
        command += ["-O", "float", "-r", str(sample_rate)]
        command += ["-o", f"synth.reverb.room-size={room:.2f}"]
        command += ["-o", "synth.dynamic-sample-loading=1"]
        command += ["-F", str(wave), soundfont, str(score)]
        subprocess.run(command, check=True, capture_output=True)
        audio, _ = soundfile.read(wave, dtype="float32", always_2d=True)
    return audio.T


def program(rng, split, families):
    """A General MIDI program of the split."""
    family = families[rng.integers(len(families))]
    places = PLACES[split]
    return int(8 * family + places[rng.integers(len(places))])


def note(channel, tick, ticks, pitch, velocity):
    """The two events of a note, its pitch moved by octaves into range."""
    while pitch > 96:
        pitch -= 12
    while pitch < 28:
        pitch += 12
    pitch, velocity = int(pitch), int(np.clip(velocity, 20, 120))
    stop = tick + max(int(ticks), 30)
    return [
        (tick, bytes([0x90 | channel, pitch, velocity])),
        (stop, bytes([0x80 | channel, pitch, 0])),
    ]


class Song:
    """A composed piece: key, metre, tempo, and parts that come and go.

    Attributes:
        melody, drums: lists of MIDI events (tick, message).
        tempo: quarter notes per minute.
    """

    PARTS = ("pad", "arpeggio", "comping", "bass", "lead", "counter")

    def __init__(self, rng, split, seconds):
        self.rng = rng
        self.tempo = rng.uniform(60, 160)
        self.beats = int(rng.choice([2, 3, 4], p=[0.15, 0.25, 0.6]))
        self.scale = SCALES[rng.integers(len(SCALES))]
        self.root = int(rng.integers(45, 60))
        self.loose = rng.uniform(0, 12)  # ticks of human timing
        self.melody, self.drums = [], []
        for channel, part in enumerate(self.PARTS):
            families = {"pad": PADS, "bass": (BASS,)}.get(part, FAMILIES)
            # Any instrument may play any part, though rarely.
            if rng.random() < 0.3:
                families = FAMILIES
            self._set_up(channel, program(rng, split, families))
        kit = KITS[split][rng.integers(len(KITS[split]))]
        self.drums.append((0, bytes([0xC9, kit])))
        self.drums.append((0, bytes([0xB9, 91, int(rng.integers(0, 90))])))
        self.has_drums = rng.random() < 0.75
        self._compose(math.ceil(seconds * self.tempo / 60 / self.beats) + 1)

    def _set_up(self, channel, number):
        """Program, volume, place, reverb and chorus of one channel."""
        rng = self.rng
        controls = {
            7: rng.integers(80, 120),
            10: rng.integers(24, 104),
            91: rng.integers(0, 110),
            93: rng.integers(0, 60),
        }
        self.melody.append((0, bytes([0xC0 | channel, number])))
        self.melody += [
            (0, bytes([0xB0 | channel, key, int(value)]))
            for key, value in controls.items()
        ]

    def _pitch(self, degree):
        octave, index = divmod(int(degree), 7)
        return self.root + 12 * octave + self.scale[index]

    def _compose(self, bars):
        """Sections of four or eight bars, each with its parts and groove."""
        rng, bar = self.rng, 0
        while bar < bars:
            length = int(rng.choice([2, 4, 8], p=[0.25, 0.5, 0.25]))
            active = [p for p in self.PARTS if rng.random() < 0.5]
            drums = self.has_drums and rng.random() < 0.85
            if not active and not (drums and rng.random() < 0.5):
                active = [self.PARTS[rng.integers(len(self.PARTS))]]
            progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
            groove = GROOVES[rng.integers(len(GROOVES))]
            motif = self._motif()
            loudness = rng.uniform(55, 105)
            for k in range(length):
                degree = progression[k % len(progression)]
                start = (bar + k) * self.beats * TICKS
                for part in active:
                    getattr(self, f"_{part}")(start, degree, motif, loudness)
                if drums:
                    self._stroke(start, groove, loudness, fill=k == length - 1)
            bar += length

    def _motif(self):
        """Rhythm and contour of a bar: rows (beat, beats, steps)."""
        rng, beat, rows, step = self.rng, 0.0, [], 0
        grid = float(rng.choice([0.25, 0.5, 0.5, 1.0]))
        while beat < self.beats:
            length = min(grid * int(rng.integers(1, 5)), self.beats - beat)
            step = int(np.clip(step + rng.integers(-2, 3), -5, 6))
            if rng.random() < 0.85:
                rows.append((beat, length, step))
            beat += length
        return rows

    def _write(self, part, tick, ticks, pitch, velocity):
        rng = self.rng
        tick = max(0, int(tick + rng.normal(0, self.loose)))
        velocity += rng.normal(0, 8)
        channel = self.PARTS.index(part)
        self.melody += note(channel, tick, ticks, pitch, velocity)

    def _pad(self, start, degree, motif, loudness):
        thirds = (0, 2, 4, 6) if self.rng.random() < 0.3 else (0, 2, 4)
        for third in thirds:
            length = self.beats * TICKS - 10
            self._write(
                "pad", start, length, self._pitch(degree + third), loudness - 12
            )

    def _arpeggio(self, start, degree, motif, loudness):
        order = (0, 2, 4, 7, 4, 2)
        for k in range(2 * self.beats):
            pitch = self._pitch(degree + order[k % len(order)]) + 12
            self._write(
                "arpeggio", start + k * TICKS // 2, TICKS // 2, pitch, loudness
            )

    def _comping(self, start, degree, motif, loudness):
        for beat, length, _ in motif:
            for third in (0, 2, 4):
                ticks = min(length, 1) * TICKS * 0.6
                pitch = self._pitch(degree + third)
                self._write(
                    "comping", start + beat * TICKS, ticks, pitch, loudness
                )

    def _bass(self, start, degree, motif, loudness):
        for beat in range(self.beats):
            if beat == 0 or self.rng.random() < 0.6:
                pitch = self._pitch(
                    degree + (4 if self.rng.random() < 0.2 else 0)
                )
                self._write(
                    "bass",
                    start + beat * TICKS,
                    TICKS * 0.9,
                    pitch - 12,
                    loudness + 6,
                )

    def _lead(self, start, degree, motif, loudness):
        for beat, length, step in motif:
            pitch = self._pitch(degree + step) + 12
            self._write(
                "lead",
                start + beat * TICKS,
                length * TICKS * 0.95,
                pitch,
                loudness + 10,
            )

    def _counter(self, start, degree, motif, loudness):
        for beat, length, step in motif[::2]:
            pitch = self._pitch(degree - step + 2)
            self._write(
                "counter", start + beat * TICKS, length * TICKS, pitch, loudness
            )

    def _stroke(self, start, groove, loudness, fill):
        """One bar of drums; a fill rolls over the toms."""
        rng = self.rng
        for drum, pattern in groove.items():
            for k in range(4 * self.beats):
                if rng.random() * 9 < int(pattern[k % 16]):
                    self._hit(start, k, drum, loudness)
        if fill and rng.random() < 0.6:
            for k in range(4 * self.beats - 4, 4 * self.beats):
                self._hit(start, k, int(rng.choice([38, 41, 45, 48])), loudness)
            self._hit(start, 4 * self.beats, 49, loudness)

    def _hit(self, start, sixteenth, drum, loudness):
        tick = start + sixteenth * TICKS // 4
        tick = max(0, int(tick + self.rng.normal(0, self.loose)))
        velocity = int(np.clip(loudness + self.rng.normal(8, 10), 25, 125))
        self.drums.append((tick, bytes([0x99, drum, velocity])))
        self.drums.append((tick + 60, bytes([0x89, drum, 0])))


def fit_length(audio, samples):
    """Cuts or pads `(channels, samples)` with silence."""
    audio = audio[:, :samples]
    return np.pad(audio, ((0, 0), (0, samples - audio.shape[1])))


def render_song(rng, split, samples, sample_rate, channels, config):
    """A song's `{"melody", "drums"}`, each `(channels, samples)`."""
    song = Song(rng, split, samples / sample_rate)
    room = rng.uniform(0.1, 0.9)
    drum_gain = 10 ** (rng.uniform(-2, 8) / 20)
    stems = {}
    for name, events, gain in (
        ("melody", song.melody, 1.0),
        ("drums", song.drums, drum_gain),
    ):
        if name == "drums" and not song.has_drums:
            stems[name] = np.zeros((channels, samples), "float32")
            continue
        midi = midi_file(events, song.tempo)
        audio = play(midi, sample_rate, config["soundfont"], room)
        audio = audio.mean(0, keepdims=True) if channels == 1 else audio
        stems[name] = gain * fit_length(audio, samples)
    return stems


@functools.cache
def soundfont_effects(split, sample_rate, soundfont):
    """The split's sounds of nature and machines: a tuple of `(samples,)`."""
    seconds, events, starts = 4.0, [], []
    for number in EFFECT_PROGRAMS[split]:
        for pitch in (42, 50, 58, 66, 74):
            tick = int(2 * TICKS * seconds * len(starts))  # at 120 per minute
            starts.append(int(seconds * sample_rate * len(starts)))
            events.append((tick, bytes([0xC0, number])))
            events += note(0, tick, 2 * TICKS * (seconds - 0.8), pitch, 100)
    audio = play(midi_file(events, 120), sample_rate, soundfont).mean(0)
    length = int(seconds * sample_rate)
    sounds = (audio[start : start + length] for start in starts)
    return tuple(s for s in sounds if len(s) and np.abs(s).max() > 1e-3)


def simple_event(rng, sample_rate):
    """A struck, gliding or throbbing sound: `(samples,)`."""
    length = int(rng.uniform(0.15, 2.5) * sample_rate)
    time = np.arange(length) / sample_rate
    sound = white_noise(rng, length)
    kind = rng.integers(3)
    if kind == 0:
        sound = sound * np.exp(-time * rng.uniform(2, 25))
    elif kind == 1:
        hertz = (
            80
            * 2 ** rng.uniform(0, 5.3)
            * np.exp(time * rng.uniform(-1.2, 1.2))
        )
        tone = np.sin(2 * np.pi * np.cumsum(hertz) / sample_rate)
        sound = (
            tone * np.exp(-time * rng.uniform(0.5, 5))
            + rng.uniform(0, 0.2) * sound
        )
    else:
        width = int(rng.integers(2, 60))
        throb = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.3, 8) * time)
        sound = np.convolve(sound, np.ones(width) / width, "same") * throb
    sound[-64:] *= np.linspace(1, 0, len(sound[-64:]))
    return sound.astype("float32")


def file_event(rng, split, sample_rate, config):
    """One of the split's sound files, faster or slower."""
    files = effect_files(config["effect_files"], split)
    audio, rate = load(files[rng.integers(len(files))])
    return soxr.resample(audio, rate * 2 ** rng.uniform(-0.8, 0.8), sample_rate)


def event(rng, split, sample_rate, config):
    """One foreground effect `(samples,)` at a common level."""
    kind = rng.random()
    if kind < 0.35:
        sound = generate_event(rng, sample_rate)
    elif kind < 0.65:
        sound = simple_event(rng, sample_rate)
    elif kind < 0.87:
        sound = file_event(rng, split, sample_rate, config)
    else:
        pool = soundfont_effects(split, sample_rate, config["soundfont"])
        sound = pool[rng.integers(len(pool))]
        sound = soxr.resample(
            sound, sample_rate * 2 ** rng.uniform(-0.4, 0.4), sample_rate
        )
    if rng.random() < 0.2:
        sound = colour(rng, sound, sample_rate)
    # A click's RMS says little of its loudness: hold its peak down too.
    sound = sound / max(
        np.sqrt(np.mean(sound**2)), np.abs(sound).max() / 8, 1e-6
    )
    return sound.astype("float32")


def render_effects(rng, split, samples, sample_rate, channels, config):
    """Events with pauses over a background: `(channels, samples)`."""
    canvas = np.zeros((channels, samples), "float32")
    density = rng.uniform(0.4, 2.2)  # mean pause, seconds
    start = int(rng.uniform(0, density) * sample_rate)
    while start < samples:
        sound = event(rng, split, sample_rate, config)
        sound *= 10 ** (rng.uniform(-12, 0) / 20)
        add_sound(canvas, sound, start, pan_gains(rng, channels, 0.8))
        pause = rng.uniform(0.1, 2 * density)
        start += int(
            (pause + rng.uniform(0.2, 1) * len(sound) / sample_rate)
            * sample_rate
        )
    if rng.random() < 0.3:
        canvas = reverberate(rng, canvas, sample_rate)
    if rng.random() < 0.85:
        level = 10 ** (rng.uniform(-24, -8) / 20)
        for gains in np.eye(channels, dtype="float32"):  # a diffuse background
            add_sound(
                canvas, level * background(rng, samples, sample_rate), 0, gains
            )
    return canvas


def background(rng, samples, sample_rate):
    """The package's rain, wind and rooms, or noise through a moving mean."""
    if rng.random() < 0.6:
        return generate_background(rng, samples, sample_rate)
    width = int(rng.integers(1, 40))
    bed = np.convolve(white_noise(rng, samples), np.ones(width) / width, "same")
    return bed.astype("float32") / np.sqrt(np.mean(bed**2))


def cue(rng, samples, sample_rate):
    """The music's gain `(samples,)`: one, or fading in late or out early."""
    gain = np.ones(samples, "float32")
    if rng.random() < 0.8:
        return gain
    fade = min(int(rng.uniform(0.3, 2.0) * sample_rate), samples // 2)
    silent = int(rng.uniform(0.05, 0.4) * samples)
    gain[:silent] = 0
    gain[silent : silent + fade] = np.linspace(0, 1, fade)
    return gain if rng.random() < 0.5 else gain[::-1]


def active_level_db(audio):
    """RMS in dB of the frames within 30 dB of the loudest one."""
    signal = audio.mean(0)
    frames = signal[: len(signal) // 1024 * 1024].reshape(-1, 1024)
    power = (frames**2).mean(1)
    return 10 * np.log10(power[power >= power.max() * 1e-3].mean() + 1e-12)


def mix(rng, stems, parts, config):
    """Sets levels, rounds to 16 bits, sums.

    Args:
        stems: `{"speech", "music", "sfx"}` of `(channels, samples)`.
        parts: dict of the same shapes that sum to the music; may be empty.

    Returns:
        A dict of int16 arrays: the stems, the parts and `"mix"`.
    """
    gains = {}
    for stem, level_db in config["levels_db"].items():
        level_db += rng.uniform(-1, 1) * config["spread_db"]
        gains[stem] = 10 ** ((level_db - active_level_db(stems[stem])) / 20)
    out = {stem: gains[stem] * audio for stem, audio in stems.items()}
    out |= {part: gains["music"] * audio for part, audio in parts.items()}
    peaks = [np.abs(x).max() for x in out.values()]
    peaks.append(np.abs(sum(out[stem] for stem in stems)).max())
    scale = 32767 * min(1.0, config["peak"] / max(peaks))
    out = {k: np.round(scale * x).astype("int16") for k, x in out.items()}
    if parts:
        out["music"] = sum(out[part] for part in parts)
    out["mix"] = sum(out[stem] for stem in stems)
    return out


def write_clip(output, split, number, audio, sample_rate):
    """Writes a clip's WAV files; its folder appears when all are written."""
    folder = output / split / str(number)
    partial = output / ".partial" / f"{split}_{number}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for stem, samples in audio.items():
        soundfile.write(
            partial / f"{stem}.wav", samples.T, sample_rate, subtype="PCM_16"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(folder)


def render_block(output, split, song_number, numbers, options, config=CONFIG):
    """Renders clips that share a song; each depends on seed and number alone.

    Args:
        output: Path, the root folder.
        split: str, "tr", "cv" or "tt".
        song_number: int.
        numbers: list of int. Clips of that song.
        options: dict with seconds, rate, channels, seed, drums.
        config: dict as `CONFIG`.

    Returns:
        How many clips were written.
    """
    rate, channels = options["rate"], options["channels"]
    samples = round(options["seconds"] * rate)
    clips = config["clips_per_song"][split]
    first = song_number * clips
    key = [options["seed"], SPLITS.index(split)]
    song = render_song(
        np.random.default_rng([*key, 0, first]),
        split,
        samples * clips,
        rate,
        channels,
        config,
    )
    for number in numbers:
        rng = np.random.default_rng([*key, 1, number])
        gain = cue(rng, samples, rate)
        start = (number - first) * samples
        parts = {
            name: gain * audio[:, start : start + samples]
            for name, audio in song.items()
        }
        arguments = (rng, split, samples, rate, channels, config)
        stems = {
            "speech": render_speech(*arguments),
            "music": sum(parts.values()),
            "sfx": render_effects(*arguments),
        }
        audio = mix(rng, stems, parts if options["drums"] else {}, config)
        write_clip(output, split, number, audio, rate)
    return len(numbers)


def plan_blocks(output, counts, config=CONFIG):
    """What is still to be rendered: rows (split, song number, clip numbers)."""
    blocks = {}
    for split, count in counts.items():
        for number in range(count):
            if not (output / split / str(number)).exists():
                song = number // config["clips_per_song"][split]
                blocks.setdefault((split, song), []).append(number)
    return [(*key, numbers) for key, numbers in blocks.items()]


def prepare_output(output, options, overwrite):
    """Notes the options in render.json, once; the problem, or None.

    Clips of other options in the same folder would go unnoticed for long.
    `overwrite` removes the clips that were rendered here, and no others.
    """
    path = output / "render.json"
    if not path.exists():
        if any((output / split).exists() for split in SPLITS):
            return (
                f"{output} holds clips (tr, cv, tt) that are not of this recipe"
            )
    elif overwrite:
        for split in SPLITS:
            shutil.rmtree(output / split, ignore_errors=True)
    else:
        found = json.loads(path.read_text())
        changed = [
            f"{key} {found.get(key)} there, {value} here"
            for key, value in options.items()
            if found.get(key) != value
        ]
        if changed:
            return (
                f"{output} holds clips of other options: {', '.join(changed)}; "
                "choose another folder or --overwrite"
            )
    output.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(options, indent=1))
    return None


def main(argv=None, config=CONFIG):
    """Renders the clips; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--train", type=int, default=300, help="clips in tr")
    parser.add_argument(
        "--validation", type=int, default=20, help="clips in cv"
    )
    parser.add_argument("--test", type=int, default=20, help="clips in tt")
    parser.add_argument("--seconds", type=float, default=12.0, help="of a clip")
    parser.add_argument("--rate", type=int, default=44100, help="Hz")
    parser.add_argument("--channels", type=int, default=1, choices=(1, 2))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--drums", action="store_true", help="also drums.wav and melody.wav"
    )
    parser.add_argument("--workers", type=int, default=1, help="threads")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="remove clips rendered into the folder before",
    )
    arguments = parser.parse_args(argv)
    names = ("seconds", "rate", "channels", "seed", "drums")
    options = {name: getattr(arguments, name) for name in names}
    output, overwrite = arguments.output, arguments.overwrite
    counts = (arguments.train, arguments.validation, arguments.test)
    if min(counts) < 0 or not arguments.seconds >= 1 or arguments.rate < 8000:
        parser.error(
            "counts must be ≥ 0, --seconds ≥ 1 and --rate ≥ 8000; got "
            f"{counts}, {arguments.seconds}, {arguments.rate}"
        )
    problem = check_programs(config)
    problem = problem or prepare_output(output, options, overwrite)
    if problem:
        print(problem, file=sys.stderr)
        return 1
    counts = dict(zip(SPLITS, counts, strict=True))
    blocks = plan_blocks(output, counts, config)
    total, done = sum(len(numbers) for *_, numbers in blocks), 0
    # Threads: most of the time is that of espeak-ng, fluidsynth and NumPy.
    pool = concurrent.futures.ThreadPoolExecutor(arguments.workers)
    futures = [
        pool.submit(render_block, output, *block, options, config)
        for block in blocks
    ]
    try:
        for future in concurrent.futures.as_completed(futures):
            done += future.result()
            print(f"{done} of {total} clips", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    shutil.rmtree(output / ".partial", ignore_errors=True)
    print(f"{sum(counts.values())} clips are in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
