"""The channel of low effects of a surround recording, kept out of the model."""

import numpy as np

from keras_bandit.common.checks import check_choice
from keras_bandit.inference.stem_names import stem_of

LFE = ("effects", "separate", "drop")
"""What becomes of it: it goes to the effects, silence in all other stems; it is
separated like any channel; it is silent in all stems."""


class WithoutLFE:
    """A source without one of its channels, which `blocks` puts back.

    Args:
        source: `keras_bandit.media.Source`.
        channel: int. The one that is left out.
        stem: str. The stem that gets it as it is; `None`: none does.
    """

    def __init__(self, source, channel, stem):
        self._source, self._channel, self._stem = source, channel, stem
        self.sample_rate = source.sample_rate
        self.num_channels = source.num_channels - 1
        self.duration_seconds = source.duration_seconds
        self._held = None

    def blocks(self):
        """As the source's, one channel less."""
        self._held = np.zeros(0, "float32")
        for block in self._source.blocks():
            self._held = np.concatenate([self._held, block[self._channel]])
            yield np.delete(block, self._channel, axis=0)

    def put_back(self, blocks):
        """What `separate_blocks` yields of this source, with the channel."""
        for mixture, estimates in blocks:
            size = mixture.shape[-1]
            lfe, self._held = self._held[:size], self._held[size:]

            def with_channel(audio, samples):
                return np.insert(audio, self._channel, samples, axis=0)

            yield (
                with_channel(mixture, lfe),
                {
                    stem: with_channel(x, lfe if stem == self._stem else 0)
                    for stem, x in estimates.items()
                },
            )


def leave_out_lfe(source, lfe, stems):
    """A source for the model: without its LFE, or as it is.

    Args:
        source: `Source`.
        lfe: one of `LFE`.
        stems: list of str, those of the model.

    Returns:
        `WithoutLFE` or `source`.
    """
    check_choice("lfe", lfe, LFE)
    if lfe == "separate" or "LFE" not in source.speakers[1:]:
        return source
    stem = stem_of("effects", stems) if lfe == "effects" else None
    return WithoutLFE(source, source.speakers.index("LFE"), stem)
