"""Changes of single stems before they are mixed.

Each is a small object that `random_crops` calls with a random number
generator, the stored stems of one example, `{stem: (channels, samples)}`,
and the sample rate in Hz. It returns such a dict and leaves its argument as
it was. Objects are frozen dataclasses: they compare, print and pickle, and
`dataclasses.asdict` gives their configuration. Defaults are the authors'
settings (configuration files of BandIt's code, arXiv:2309.02539, which no
published experiment uses).
"""

import dataclasses
import math

import numpy as np

from keras_bandit.data.stem_reader import crop_samples


def _check_range(name, values):
    if len(values) != 2 or not -math.inf < values[0] <= values[1] < math.inf:
        raise ValueError(
            f"{name} must be two finite numbers, low and high; got "
            f"{name}={values}"
        )


def _check_probability(name, value):
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in 0 … 1; got {name}={value}")


def _checked(default, check):
    """A field whose value is checked when an object is made."""
    return dataclasses.field(default=default, metadata={"check": check})


def _from_db(level_db):
    return np.float32(10 ** (level_db / 20))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Base: changes each of its stems with a probability, independently.

    Args:
        p: float. Probability, 0 … 1, that a stem is changed.
        stems: list of str. The stems that may change, if an example has them;
            `None`: all.

    Raises:
        ValueError: if an argument is out of its range.
    """

    p: float = _checked(0.5, _check_probability)
    stems: tuple | None = None

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if check := field.metadata.get("check"):
                check(field.name, getattr(self, field.name))
        if isinstance(self.stems, str):
            raise ValueError(
                f"stems must be a list of names; got stems={self.stems!r}"
            )

    def __call__(self, rng, targets, sample_rate):
        return {
            stem: self._change(rng, stem, audio, sample_rate)
            if (self.stems is None or stem in self.stems)
            and rng.random() < self.p
            else audio
            for stem, audio in targets.items()
        }

    def _change(self, rng, stem, audio, sample_rate):
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gain(Augmentation):
    """Multiplies a stem by a random gain.

    Args:
        gain_db: (low, high). The gain in dB is uniform between them.
        p, stems: as of `Augmentation`.

    Example:
        ```python
        import numpy as np
        from keras_bandit.data import Gain, film_clip

        louder = Gain(p=1.0, gain_db=(6.0, 12.0), stems=["speech"])
        louder(np.random.default_rng(0), film_clip(1.0, 16000), 16000)
        ```
    """

    gain_db: tuple = _checked((-6.0, 6.0), _check_range)

    def _change(self, rng, stem, audio, sample_rate):
        return _from_db(rng.uniform(*self.gain_db)) * audio


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolarityInversion(Augmentation):
    """Multiplies a stem by -1.

    Args:
        p, stems: as of `Augmentation`.

    Example:
        ```python
        from keras_bandit.data import PolarityInversion

        PolarityInversion(p=0.5)
        ```
    """

    def _change(self, rng, stem, audio, sample_rate):
        return -audio


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shift(Augmentation):
    """Rolls a stem in time: what leaves at one end enters at the other.

    Args:
        fraction: (low, high). The shift, in lengths of the crop, is uniform
            between them.
        p, stems: as of `Augmentation`.

    Example:
        ```python
        from keras_bandit.data import Shift

        Shift(fraction=(-0.1, 0.1))
        ```
    """

    fraction: tuple = _checked((-0.5, 0.5), _check_range)

    def _change(self, rng, stem, audio, sample_rate):
        low, high = (round(x * audio.shape[-1]) for x in self.fraction)
        return np.roll(audio, rng.integers(low, high, endpoint=True), axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColoredNoise(Augmentation):
    """Adds noise of a random colour and level to a stem.

    One second of white noise, its spectrum divided by
    `linspace(1, sqrt(sample_rate / 2), bins) ** exponent`, is repeated over
    the crop and scaled to the stem's RMS divided by `10 ** (snr_db / 20)`.
    Each channel has noise of its own, at its own RMS: silence stays silent.

    Args:
        snr_db: (low, high). The stem's power over the noise's in dB is
            uniform between them.
        exponent: (low, high). The exponent, uniform between them: 0 is
            white, more is darker.
        p: as of `Augmentation`.
        stems: as of `Augmentation`; the authors add it to effects.

    Example:
        ```python
        from keras_bandit.data import ColoredNoise

        ColoredNoise(snr_db=(10.0, 30.0), stems=None)
        ```
    """

    snr_db: tuple = _checked((-24.0, 24.0), _check_range)
    exponent: tuple = _checked((-2.0, 2.0), _check_range)
    stems: tuple | None = ("effects",)

    def _change(self, rng, stem, audio, sample_rate):
        level = _rms(audio) * _from_db(-rng.uniform(*self.snr_db))
        exponent = rng.uniform(*self.exponent)
        noise = colored_noise(
            rng, len(audio), audio.shape[-1], sample_rate, exponent
        )
        return audio + level * noise


def colored_noise(rng, channels, samples, sample_rate, exponent):
    """Noise of RMS 1 that repeats every second; see `ColoredNoise`.

    Returns:
        `(channels, samples)` float32.
    """
    white = rng.standard_normal((channels, sample_rate), dtype="float32")
    spectrum = np.fft.rfft(white)
    slope = np.linspace(1, math.sqrt(sample_rate / 2), spectrum.shape[-1])
    spectrum *= (slope**-exponent).astype("float32")
    second = np.fft.irfft(spectrum, sample_rate).astype("float32", copy=False)
    second /= _rms(second)
    return np.tile(second, -(-samples // sample_rate))[:, :samples]


def _rms(audio):
    """Root mean square of each channel, `(channels, 1)` float32."""
    power = np.einsum("cs,cs->c", audio, audio) / audio.shape[-1]
    return np.sqrt(power)[:, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowGain(Augmentation):
    """Scales or silences a stem within a window at a random place.

    The second half of the authors' remixing for MUSDB18-HQ.

    Args:
        window_seconds: float. Length of the window, cut to the crop's.
        gain_db: (low, high). The gain in dB is uniform between them.
        silence: float. Probability, 0 … 1, that the window is silenced.
        p, stems: as of `Augmentation`.

    Example:
        ```python
        from keras_bandit.data import WindowGain

        WindowGain(window_seconds=1.0, silence=0.0)
        ```
    """

    window_seconds: float = 3.0
    gain_db: tuple = _checked((-10.0, 10.0), _check_range)
    silence: float = _checked(0.1, _check_probability)
    p: float = _checked(1.0, _check_probability)

    def __post_init__(self):
        super().__post_init__()
        if not self.window_seconds > 0:
            raise ValueError(
                "window_seconds must be positive; got window_seconds="
                f"{self.window_seconds}"
            )

    def _change(self, rng, stem, audio, sample_rate):
        samples = audio.shape[-1]
        window = min(round(self.window_seconds * sample_rate), samples)
        start = rng.integers(samples - window, endpoint=True)
        gain = np.float32(0)
        if rng.random() >= self.silence:
            gain = _from_db(rng.uniform(*self.gain_db))
        audio = audio.copy()
        audio[:, start : start + window] *= gain
        return audio


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remix(Augmentation):
    """Replaces a stem by the same stem of another track.

    With `stems` all but the target, `tracks` segments of MUSDB18-HQ in which
    something is heard (`active_segments`), and `WindowGain` after it, this is
    the authors' remixing on the fly.

    Args:
        tracks: list of `Track` with the rate and channels of the examples.
            One is drawn for each stem among those that have it.
        p: as of `Augmentation`. The authors' is 0.5 or, where theirs is not
            set, (epoch_size - number of segments) / epoch_size.
        stems: as of `Augmentation`.

    Raises:
        ValueError: if there is no track. When called: if no track has the
            stem, one is shorter than the example, or they do not fit.

    Example:
        ```python
        import numpy as np
        from keras_bandit.data import Remix, film_clip
        from keras_bandit.data.track import ArrayTrack

        other = ArrayTrack("other", 16000, film_clip(3.0, 16000, seed=1))
        remix = Remix(tracks=[other], p=1.0, stems=["music", "effects"])
        remix(np.random.default_rng(0), film_clip(1.0, 16000), 16000)
        ```
    """

    tracks: tuple = dataclasses.field(repr=False)

    def __post_init__(self):
        super().__post_init__()
        if not self.tracks:
            raise ValueError("tracks must be at least one; got none")

    def _change(self, rng, stem, audio, sample_rate):
        track = self._draw(rng, stem)
        channels, samples = audio.shape
        if (track.num_channels, track.sample_rate) != (channels, sample_rate):
            raise ValueError(
                f"tracks must have the examples' {channels} channels at "
                f"{sample_rate} Hz; {track.name} has {track.num_channels} at "
                f"{track.sample_rate}"
            )
        crop_samples([track], samples / sample_rate, "the example's seconds")
        start = rng.integers(track.num_samples - samples, endpoint=True)
        return track.read(stem, int(start), int(start) + samples)

    def _draw(self, rng, stem):
        # Nearly always the first try; `choices` only where stems are rare.
        track = self.tracks[rng.integers(len(self.tracks))]
        if stem in track.stems:
            return track
        choices = [track for track in self.tracks if stem in track.stems]
        if not choices:
            raise ValueError(f"no track to remix from has the stem {stem!r}")
        return choices[rng.integers(len(choices))]


@dataclasses.dataclass(frozen=True)
class RandomOrder:
    """Applies augmentations in an order drawn for each example.

    Args:
        augmentations: list of `Augmentation`.
        p: float. Probability, 0 … 1, that any is applied.

    Example:
        ```python
        import numpy as np
        from keras_bandit.data import Gain, RandomOrder, Shift, film_clip

        change = RandomOrder([Gain(), Shift()], p=0.8)
        change(np.random.default_rng(0), film_clip(1.0, 16000), 16000)
        ```
    """

    augmentations: tuple
    p: float = 1.0

    def __post_init__(self):
        _check_probability("p", self.p)

    def __call__(self, rng, targets, sample_rate):
        if rng.random() >= self.p:
            return targets
        for number in rng.permutation(len(self.augmentations)):
            targets = self.augmentations[number](rng, targets, sample_rate)
        return targets
