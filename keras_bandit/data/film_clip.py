"""Short film-like clips with their stems, synthesized with NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_bandit.common.checks import check_whole
from keras_bandit.data.generated_effects import generate_effects
from keras_bandit.data.generated_music import generate_music
from keras_bandit.data.generated_speech import generate_speech

if TYPE_CHECKING:
    from collections.abc import Sequence


STEMS = ("speech", "music", "effects")

# Power of each stem relative to the mixture. With these the mixture's SNR is
# +1, -6.8 and -5 dB for speech, music and effects, as on DnR v2 (Petermann et
# al. 2022, arXiv:2110.09958): SNR = 10 log10(p / (1 - p)) for a share p.
_LEVEL_DB = {"speech": -2.5, "music": -7.6, "effects": -6.2}
_LEVEL_SPREAD_DB = 1.5
_MIXTURE_LEVEL_DB = -21.0
_PEAK = 0.95


def film_clip(
    seconds: float,
    sample_rate: int = 44100,
    channels: int = 1,
    seed: int | Sequence[int] = 0,
) -> dict[str, np.ndarray]:
    """Synthesizes a short film-like clip: speech, music and effects.

    Speech is the babble of two or three speakers. Music has chords, a bass, a
    melody and, in half the clips, drums. Effects are impacts, whooshes, ticks,
    explosions and engines over rain, wind or room noise. The stems' levels
    scatter by 1.5 dB (standard deviation) around those of DnR v2 (Petermann et
    al. 2022, arXiv:2110.09958): a mixture SNR of +1, -6.8 and -5 dB. The
    mixture is the sum of the stems.

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
    if not 1 <= seconds < np.inf:
        raise ValueError(
            "seconds must be finite and at least 1 (less may hold no word); "
            f"got seconds={seconds}"
        )
    sample_rate = check_whole("sample_rate", sample_rate, 8000)
    channels = check_whole("channels", channels, 1)
    samples = round(seconds * sample_rate)
    rng = np.random.default_rng(seed)
    renderers = (generate_speech, generate_music, generate_effects)
    stems = {}
    for name, render in zip(STEMS, renderers, strict=True):
        stem = render(rng, samples, sample_rate, channels)
        level_db = _MIXTURE_LEVEL_DB + _LEVEL_DB[name]
        level_db += rng.normal(0, _LEVEL_SPREAD_DB)
        stems[name] = stem * (10 ** (level_db / 20) / np.sqrt(np.mean(stem**2)))
    peak = max(np.abs(x).max() for x in (*stems.values(), sum(stems.values())))
    gain = np.float32(min(1.0, _PEAK / peak))
    return {name: (gain * x).astype("float32") for name, x in stems.items()}
