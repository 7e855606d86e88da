"""Changes of single stems before they are mixed.

Functions of a random number generator, the stored stems of one example,
`{stem: (channels, samples)}`, and the sample rate in Hz, to such a dict. They
leave their argument as it was.
"""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Changes each of its stems with a probability, independently.

    Args:
        p: float. Probability, 0 … 1, that a stem is changed.
        stems: list of str. The stems that may change, if an example has them;
            `None`: all.

    Raises:
        ValueError: if an argument is out of its range.
    """

    p: float = 0.5
    stems: tuple | None = None

    def __post_init__(self):
        if not 0 <= self.p <= 1:
            raise ValueError(f"p must be in 0 … 1; got p={self.p}")
        if isinstance(self.stems, str):
            raise ValueError(
                f"stems must be a list of names; got stems={self.stems!r}"
            )

    def __call__(self, rng, targets, sample_rate):
        return {
            stem: self._change(rng, audio)
            if (self.stems is None or stem in self.stems)
            and rng.random() < self.p
            else audio
            for stem, audio in targets.items()
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gain(Augmentation):
    """Multiplies a stem by a random gain.

    Args:
        gain_db: (low, high). The gain in dB is uniform between them.
        p, stems: see `Augmentation`.

    Example:
        ```python
        import numpy as np
        from keras_bandit.data import Gain, film_clip

        louder = Gain(p=1.0, gain_db=(6.0, 12.0), stems=["speech"])
        louder(np.random.default_rng(0), film_clip(1.0, 16000), 16000)
        ```
    """

    gain_db: tuple = (-6.0, 6.0)

    def __post_init__(self):
        super().__post_init__()
        if len(self.gain_db) != 2 or not (
            -math.inf < self.gain_db[0] <= self.gain_db[1] < math.inf
        ):
            raise ValueError(
                "gain_db must be two finite numbers, low and high; got "
                f"gain_db={self.gain_db}"
            )

    def _change(self, rng, audio):
        return np.float32(10 ** (rng.uniform(*self.gain_db) / 20)) * audio


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolarityInversion(Augmentation):
    """Multiplies a stem by -1.

    Args:
        p, stems: see `Augmentation`.

    Example:
        ```python
        from keras_bandit.data import PolarityInversion

        PolarityInversion(p=0.5)
        ```
    """

    def _change(self, rng, audio):
        return -audio


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reverse(Augmentation):
    """Turns a stem round in time.

    "Reverse audio" of the slides on BSRNN for MDX-23 (Landschoot, "The Future
    of Music Demixing").

    Args:
        together: bool. Whether all of the stems are turned round or none, as
            if the example were played backwards; `False`: each alone.
        p, stems: see `Augmentation`.

    Example:
        ```python
        from keras_bandit.data import Reverse

        Reverse(p=0.5, together=True)
        ```
    """

    together: bool = False

    def __call__(self, rng, targets, sample_rate):
        if not self.together:
            return super().__call__(rng, targets, sample_rate)
        p = float(rng.random() < self.p)
        return dataclasses.replace(self, p=p, together=False)(
            rng, targets, sample_rate
        )

    def _change(self, rng, audio):
        return audio[:, ::-1].copy()  # PyTorch takes no negative strides
