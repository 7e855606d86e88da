"""Random film-like crops of natural sounds, mixed where the model trains.

All sounds of a folder of natural_sounds.py are decoded once and lie in the
device's memory as 16-bit samples; a batch is one gather and one Fourier
transform for each part of the mixture. Levels are those of
`keras_bandit.data.film_track`, more widely spread, and parts are filtered as
films' are: reverberation, equalization, narrow bands. PyTorch only.
"""

import concurrent.futures
import dataclasses
import functools
import pathlib

import numpy as np
import soundfile
import soxr
import torch
from natural_sounds import FOLDERS

STEMS = ("speech", "music", "effects")
# Loudness in LUFS and its standard deviation.
LEVELS = {
    "speech": (-17.0, 2.5),
    "music": (-24.0, 3.5),
    "foreground": (-21.0, 3.0),
    "background": (-29.0, 4.0),
}
# The mixture's, against the sum of the levels above.
MIXTURE_DB = -10.0, 3.0
PRESENT = {"speech": 0.85, "music": 0.85, "background": 0.65}
SECOND_SPEAKER = 0.08
EVENTS, EVENT_PRESENT = 4, 0.55
FADE_SECONDS = {
    "speech": 0.01,
    "music": 0.3,
    "foreground": 0.005,
    "background": 0.3,
}
# Part of the crops in which a part begins or ends.
PARTLY = 0.3
REVERBERANT = {
    "speech": 0.35,
    "music": 0.1,
    "foreground": 0.4,
    "background": 0.1,
}
REVERB_SECONDS = 0.7
EQUALIZED, EQUALIZER_DB = 0.7, 3.5
NARROW = 0.12


def loudness(audio, sample_rate):
    """Integrated loudness, near ITU-R BS.1770's, in LUFS.

    Its weighting is a high-pass near 40 Hz and a shelf of 4 dB near 1.7 kHz,
    here by magnitude; blocks of 0.4 s more than 10 dB below the mean are left
    out.
    """
    block = min(int(0.4 * sample_rate), len(audio))
    blocks = audio[: len(audio) // block * block].reshape(-1, block)
    hz = np.fft.rfftfreq(block, 1 / sample_rate)
    high_pass = (hz / 38) ** 4 / (1 + (hz / 38) ** 4)
    shelf = 1 + (10**0.4 - 1) * (hz / 1700) ** 4 / (1 + (hz / 1700) ** 4)
    # By Parseval; blocks are short, so that the transforms are fast.
    squared = np.abs(np.fft.rfft(blocks)) ** 2 * (high_pass * shelf)
    power = 2 * squared.sum(1) / block**2 + 1e-12
    kept = power[power > max(power.mean() / 10, 1e-7)]
    return -0.691 + 10 * np.log10((kept if len(kept) else power).mean())


def _decode(path, sample_rate, speeds):
    """A file at each speed: 16-bit samples and the gain that makes 0 LUFS."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = audio.mean(1)
    gain = 10 ** (-loudness(audio, rate) / 20)
    found = []
    for speed in speeds:
        samples = soxr.resample(audio, rate * speed, sample_rate, "HQ")
        peak = np.abs(samples).max()
        samples = np.round(samples / peak * 32767).astype("int16")
        found.append((samples, gain * peak / 32767))
    return found


@dataclasses.dataclass
class Bank:
    """All sounds of one kind: `samples` in a row and where each one is."""

    samples: torch.Tensor
    starts: torch.Tensor
    lengths: torch.Tensor
    gains: torch.Tensor


def read_banks(folder, sample_rate, speeds, device, workers):
    """The sounds of a split, each at all speeds, `{kind: Bank}`.

    Args:
        folder: path of the split.
        sample_rate: int. Hz.
        speeds: list of float. 1.1 is 10 % faster and higher.
        device: where the samples lie.
        workers: int. Threads that decode.

    Raises:
        ValueError: if the folder has no sounds of one of the kinds.
    """
    paths = {
        kind: sorted(pathlib.Path(folder, part).glob("*.*"))
        for kind, part in FOLDERS.items()
    }
    for kind, found in paths.items():
        if not found:
            raise ValueError(f"{folder}/{FOLDERS[kind]}: no sounds")
    decode = functools.partial(_decode, sample_rate=sample_rate, speeds=speeds)
    banks = {}
    # Decoding, resampling and transforms let other threads run.
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        decoded = {
            kind: pool.map(decode, found) for kind, found in paths.items()
        }
    for kind, results in decoded.items():
        sounds = [sound for speeds_of_one in results for sound in speeds_of_one]
        audio, gains = zip(*sounds, strict=True)
        lengths = torch.tensor([len(samples) for samples in audio])
        banks[kind] = Bank(
            torch.from_numpy(np.concatenate(audio)).to(device),
            (lengths.cumsum(0) - lengths).to(device),
            lengths.to(device),
            torch.tensor(gains, dtype=torch.float32, device=device),
        )
    return banks


class FilmCrops:
    """Batches of mixtures and their stems.

    Args:
        banks: `{kind: Bank}` of `read_banks`.
        seconds: float. Length of a crop.
        sample_rate: int. Hz.
        seed: int.
        augment: bool. Whether parts are filtered and missing at times; else
            every stem is there, at levels that vary as in DnR.
    """

    def __init__(self, banks, seconds, sample_rate, seed, augment=True):
        self.banks = banks
        self.samples = round(seconds * sample_rate)
        self.sample_rate = sample_rate
        self.augment = augment
        self.device = banks["speech"].samples.device
        self.random = torch.Generator(self.device).manual_seed(seed)
        tail = round(REVERB_SECONDS * sample_rate) if augment else 0
        # A length that the transform likes.
        self.fft = -(-(self.samples + tail) // 4096) * 4096
        self.tail = tail
        self.time = torch.arange(self.samples, device=self.device)

    def _uniform(self, low, high, *shape):
        x = torch.rand(*shape, generator=self.random, device=self.device)
        return low + (high - low) * x

    def _normal(self, *shape):
        return torch.randn(*shape, generator=self.random, device=self.device)

    def _chance(self, probability, *shape):
        return (self._uniform(0, 1, *shape) < probability).float()

    def _piece(self, kind, count):
        """Pieces at random places of random sounds, 0 LUFS, `(count, samples)`.

        A piece overlaps the crop by half of itself or of the crop at least.
        """
        bank = self.banks[kind]
        chosen = self._uniform(0, len(bank.starts), count).long()
        length = bank.lengths[chosen]
        half = length.clamp(max=self.samples) // 2
        place = self._uniform(0, 1, count) * (length + self.samples - 2 * half)
        place = (place + half - length).long()  # of the sound's first sample
        inside = self.time - place[:, None]
        edge = torch.minimum(inside + 1, length[:, None] - inside)
        fade = FADE_SECONDS[kind] * self.sample_rate
        inside = inside.clamp(min=0).minimum(length[:, None] - 1)
        audio = bank.samples[bank.starts[chosen][:, None] + inside].float()
        sign = 2 * self._chance(0.5, count) - 1
        gain = sign * bank.gains[chosen]
        return audio * (edge / fade).clamp(0, 1) * gain[:, None]

    def _response(self, kind, count):
        """Transfer functions `(count, bins)` of rooms, equalizers, lines."""
        bins = self.fft // 2 + 1
        hz = torch.arange(bins, device=self.device) * (
            self.sample_rate / self.fft
        )
        # Straight lines between gains at eight frequencies, 40 Hz to 16 kHz.
        knots = EQUALIZER_DB * self._normal(count, 8)
        knots *= self._chance(EQUALIZED, count, 1)
        place = (torch.log2(hz.clamp(min=40) / 40) * 7 / 8.65).clamp(0, 6.999)
        left = place.long()
        part = place - left
        gain_db = knots[:, left] * (1 - part) + knots[:, left + 1] * part
        narrow = self._chance(NARROW, count, 1)
        top = 3400 * 4 ** self._uniform(0, 1, count, 1)
        # Half of the narrow ones are telephones and small loudspeakers.
        phone = self._chance(0.5, count, 1)
        bottom = 20 + phone * self._uniform(80, 280, count, 1)
        cut = -120 * torch.log2((hz / top).clamp(min=1))
        cut = cut - 48 * torch.log2(bottom / hz.clamp(min=1)).clamp(min=0)
        gain_db = gain_db + narrow * cut.clamp(min=-70)
        time = torch.arange(self.tail, device=self.device) / self.sample_rate
        decay_seconds = self._uniform(0.15, 1.3, count, 1)
        room = self._normal(count, self.tail)
        room *= torch.exp(-6.9 * time / decay_seconds)
        room *= time > 0.002
        room *= room.square().sum(1, keepdim=True).clamp(min=1e-9).rsqrt()
        reverberant = self._chance(REVERBERANT[kind], count, 1)
        wet_db = self._uniform(-14, 0, count, 1)
        room = torch.fft.rfft(
            reverberant * 10 ** (wet_db / 20) * room, self.fft
        )
        return 10 ** (gain_db / 20) * (1 + room)

    def _gate(self, count):
        """Whether a part plays, `(count, samples)` of 0 to 1."""
        partly = self._chance(PARTLY, count, 1)
        first = self._uniform(-0.5, 0.7, count, 1) * self.samples
        last = first + self._uniform(0.4, 1.2, count, 1) * self.samples
        edge = torch.minimum(self.time - first, last - self.time)
        gate = (edge / (0.02 * self.sample_rate)).clamp(0, 1)
        return 1 + partly * (gate - 1)

    def _part(self, kind, level_db, present):
        """A part of the mixtures, `(batch, samples)`."""
        count = len(level_db)
        audio = self._piece(kind, count)
        if self.augment:
            spectrum = torch.fft.rfft(audio, self.fft)
            spectrum *= self._response(kind, count)
            audio = torch.fft.irfft(spectrum, self.fft)[:, : self.samples]
            audio = audio * self._gate(count)
        return audio * (10 ** (level_db / 20) * present)[:, None]

    def batch(self, count):
        """Mixtures `(count, 1, samples)` and `{stem: as many}`."""

        def level(kind):
            mean, deviation = LEVELS[kind]
            deviation = deviation if self.augment else 1.2
            return mean + deviation * self._normal(count)

        def present(probability, certain=not self.augment):
            return self._chance(1.0 if certain else probability, count)

        def part(kind):
            there = present(PRESENT[kind])
            return self._part(kind, level(kind), there)

        speech = part("speech")
        if self.augment:
            second = present(SECOND_SPEAKER)
            speech = speech + self._part("speech", level("speech"), second)
        effects = part("background")
        shared = level("foreground")
        for number in range(EVENTS):
            there = present(EVENT_PRESENT, not self.augment and number == 0)
            each = shared + self._normal(count)
            effects = effects + self._part("foreground", each, there)
        music = part("music")
        mean, deviation = MIXTURE_DB
        overall = mean + deviation * self._normal(count) * self.augment
        gain = (10 ** (overall / 20))[:, None, None]
        stems = dict(zip(STEMS, (speech, music, effects), strict=True))
        stems = {stem: gain * audio[:, None] for stem, audio in stems.items()}
        return sum(stems.values()), stems
