"""One film-like track, mixed as DnR was mixed.

Facts of DnR's mixing are from the scripts that made it, config.py and
compile_dataset.py of github.com/darius522/dnr-utils at d895d48, for Petermann
et al. 2022, "The Cocktail Fork Problem", arXiv:2110.09958.
"""

import dataclasses
import math

import numpy as np

from keras_bandit.common.loudness import integrated_loudness
from keras_bandit.data.sound_sources import GeneratedSound

# Loudness of each kind in LUFS and of the mixture; each track shifts each
# kind, each event is shifted again, all uniformly. Sound effects in the
# foreground and in the background are kinds of their own until the end.
_LUFS = {"music": -24.0, "speech": -17.0, "sfx": -21.0, "background": -29.0}
_MIXTURE_LUFS = -27.0
_TRACK_SPREAD = 2.0
_EVENT_SPREAD = 1.0
_PEAK_DB = -0.5

KINDS = tuple(_LUFS)
"""Kinds of sounds; a track's effects are "sfx" plus "background"."""

# Mean numbers of events in 60 s, before zero is ruled out.
_EVENTS_PER_MINUTE = {"music": 7, "speech": 8, "sfx": 12, "background": 6}
# Ours: a longer file gives a piece of it. FMA's clips and the longest of
# FSD50K have 30 s.
_LONGEST_SECONDS = 30.0
_SHORTEST_SECONDS = 0.1
# Ours: a piece cut out of music must not click.
_FADE_SECONDS = {"music": 0.5, "speech": 0.01, "sfx": 0.01, "background": 0.5}
_TRIES = 10


@dataclasses.dataclass(frozen=True)
class Event:
    """A piece of a sound in a track; places in seconds."""

    file: str  # name of the sound
    kind: str  # one of `KINDS`
    start: float  # in the track
    stop: float
    clip_start: float  # in the sound
    clip_stop: float
    gain: float  # factor of the sound, which is faded at both ends


def _pause(rng):
    """Seconds from the end of an event to the start of the next, at least.

    One second and a skew-normal number (shape 5, scale 2 s), in Azzalini's
    form (1985, Scand. J. Statist. 12, 171-178): d |a| + sqrt(1 - d^2) b.
    """
    skew = 5 / math.sqrt(1 + 5**2)
    a, b = rng.standard_normal(2)
    return 1.0 + 2.0 * (skew * abs(a) + math.sqrt(1 - skew**2) * b)


def _sounds(rng, kind, files, sample_rate):
    """Sounds of a kind without end: files in random order, round and round."""
    while True:
        if files is None:
            yield GeneratedSound(kind, int(rng.integers(2**53)), sample_rate)
        else:
            for index in rng.permutation(len(files)):
                yield files[index]


def _cut(rng, kind, sound, longest, sample_rate):
    """A faded piece that is not silent: start (s), `(samples,)`, LUFS.

    Speech is taken whole, of others about half. Speech and effects start with
    their file if it has at most 30 s; music starts anywhere, and so does every
    piece after one that was silent.
    """
    for attempt in range(_TRIES):
        seconds = longest
        if kind != "speech":
            seconds = rng.normal(longest / 2, longest / 10)
            shortest = min(_SHORTEST_SECONDS, longest)
            seconds = float(np.clip(seconds, shortest, longest))
        start = 0.0
        if kind == "music" or attempt or sound.seconds > _LONGEST_SECONDS:
            start = rng.uniform(0, sound.latest_start(seconds))
        audio = np.array(sound.read(start, seconds, sample_rate))
        fade = min(round(_FADE_SECONDS[kind] * sample_rate), len(audio) // 2)
        ramp = (np.arange(fade, dtype="float32") + 0.5) / max(fade, 1)
        audio[:fade] *= ramp
        audio[len(audio) - fade :] *= ramp[::-1]
        lufs = integrated_loudness(audio[None], sample_rate)
        if np.isfinite(lufs):
            return start, audio, lufs
    raise ValueError(
        f"{getattr(sound, 'path', sound.name)}: {_TRIES} random pieces of it "
        "are all silent; remove it, or name it in skip="
    )


def _submix(rng, kind, sounds, seconds, sample_rate):
    """The events of one kind, one after the other with silence between."""
    audio = np.zeros(round(seconds * sample_rate), "float32")
    events = []
    track_lufs = _LUFS[kind] + rng.uniform(-1, 1) * _TRACK_SPREAD
    while not (count := rng.poisson(_EVENTS_PER_MINUTE[kind] * seconds / 60)):
        pass  # every kind has an event
    for _, sound in zip(range(count), sounds, strict=False):
        length = min(sound.seconds, _LONGEST_SECONDS)
        end = events[-1].stop if events else 0.0
        start = max(math.ceil(end) + _pause(rng), end)
        if not events:  # every track has one: leave room for it
            start = min(start, max(seconds - 2.0, seconds / 2))
        if seconds - start <= 0.3 * min(length, seconds) and events:
            continue
        longest = min(length, seconds - start)
        clip_start, piece, lufs = _cut(rng, kind, sound, longest, sample_rate)
        target = track_lufs + rng.uniform(-1, 1) * _EVENT_SPREAD
        gain = 10 ** ((target - lufs) / 20)
        first = int(start * sample_rate)
        piece = piece[: len(audio) - first]
        audio[first : first + len(piece)] += np.float32(gain) * piece
        length = len(piece) / sample_rate
        start = first / sample_rate
        places = start, start + length, clip_start, clip_start + length
        events.append(Event(sound.name, kind, *places, gain))
    return audio, events


def mix_film_track(seed, seconds, sample_rate, sounds):
    """Mixes one mono track.

    As in DnR: the number of events of each kind is a Poisson number that is
    not zero; events of a kind follow each other with random silence between;
    each is set to the loudness of its kind (music -24 LUFS, speech -17,
    effects -21 in the foreground and -29 in the background), shifted by up to
    2 per track and 1 per event; if a kind then peaks above -0.5 dB all are
    turned down; and the mixture is set to -27 LUFS, shifted by up to 2.

    Not as in DnR: pieces are faded (0.5 s for music and backgrounds, 10 ms
    otherwise); the numbers of events grow with the length; each kind has one
    event at least; at most 30 s of a file are taken.

    Args:
        seed: int or sequence of int.
        seconds: float. Length, at least 1.
        sample_rate: int. Hz.
        sounds: `{kind: list of FileSound, or None}`; `None` generates.

    Returns:
        `{"mix", "speech", "music", "sfx"}` of `(samples,)` float32, where mix
        is the sum of the others, and a list of `Event` by start.

    Raises:
        ValueError: if a sound seems to be silent everywhere.
        ImportError: without pyloudnorm, the extra `mix`.
    """
    rng = np.random.default_rng(seed)
    audio, events = {}, []
    for kind in KINDS:
        picked = _sounds(rng, kind, sounds[kind], sample_rate)
        audio[kind], placed = _submix(rng, kind, picked, seconds, sample_rate)
        events += placed
    peak = max(np.abs(samples).max() for samples in audio.values())
    gain = min(1.0, 10 ** (_PEAK_DB / 20) / peak)
    lufs = integrated_loudness(gain * sum(audio.values())[None], sample_rate)
    target = _MIXTURE_LUFS + rng.uniform(-1, 1) * _TRACK_SPREAD
    gain *= 10 ** ((target - lufs) / 20)
    audio["sfx"] = audio["sfx"] + audio["background"]
    stems = {s: np.float32(gain) * audio[s] for s in ("speech", "music", "sfx")}
    events = [dataclasses.replace(e, gain=e.gain * gain) for e in events]
    events.sort(key=lambda event: event.start)
    return {"mix": sum(stems.values()), **stems}, events
