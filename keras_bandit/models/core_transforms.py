"""What stands around exported cores: from waveforms to a core's inputs and back.

In NumPy alone, for engines without Keras. `separator.json` has the settings
under one of the keys of `TRANSFORMS`; a model gives them as
`core_transforms()`. A class is made of the stems wanted and these settings:

    inputs, outputs: lists of str, the core's tensors, those needed for the stems
    start(waveform): the inputs by name, and a function of the outputs by name
        that returns {stem: waveform}
"""

from keras_bandit.common.numpy_spectral import as_pairs, istft, stft
from keras_bandit.models.hybrid_demucs.numpy_transforms import HybridTransforms
from keras_bandit.models.mrx.numpy_transforms import MRXTransforms
from keras_bandit.models.open_unmix.numpy_transforms import WienerTransforms


class MaskTransforms:
    """A spectrogram, and complex masks of it.

    Args:
        stems: list of str.
        **stft: arguments of `numpy_spectral.stft`.
    """

    inputs = ("spectrogram",)

    def __init__(self, stems, **stft):
        self.stems = stems
        self.stft = stft
        self.outputs = [f"mask_{stem}" for stem in stems]

    def start(self, waveform):
        spectrogram = stft(waveform, **self.stft)

        def finish(masks):
            return {
                stem: istft(
                    spectrogram
                    * masks[f"mask_{stem}"].view("complex64")[..., 0],
                    self.stft["n_fft"],
                    self.stft["hop_length"],
                    waveform.shape[-1],
                )
                for stem in self.stems
            }

        return {"spectrogram": as_pairs(spectrogram)}, finish


class BagTransforms:
    """Those of several models, whose estimates are averaged.

    Args:
        stems: list of str.
        sources: list of str, the members' stems.
        members: list of dict, transforms of each.
        shares: list for each member of numbers for each source.
    """

    def __init__(self, stems, sources, members, shares):
        self.stems = stems
        self.members = [make_transforms(stems, member) for member in members]
        self.shares = [
            dict(zip(sources, numbers, strict=True)) for numbers in shares
        ]
        self.inputs, self.outputs = (
            [
                f"{i}_{name}"
                for i, member in enumerate(self.members)
                for name in getattr(member, kind)
            ]
            for kind in ("inputs", "outputs")
        )

    def start(self, waveform):
        inputs, ends = {}, []
        for i, member in enumerate(self.members):
            own, end = member.start(waveform)
            inputs |= {f"{i}_{name}": x for name, x in own.items()}
            ends.append(end)

        def finish(outputs):
            total = dict.fromkeys(self.stems, 0)
            for i, (member, end) in enumerate(
                zip(self.members, ends, strict=True)
            ):
                own = {name: outputs[f"{i}_{name}"] for name in member.outputs}
                for stem, estimate in end(own).items():
                    share = self.shares[i][stem]
                    total[stem] = total[stem] + share * estimate
            return total

        return inputs, finish


TRANSFORMS = {
    "stft": MaskTransforms,
    "wiener": WienerTransforms,
    "mrx": MRXTransforms,
    "hybrid_demucs": HybridTransforms,
    "bag": BagTransforms,
}
"""Key of `separator.json` → class."""


def make_transforms(stems, description):
    """The transforms of a description, which has one key of `TRANSFORMS`.

    `ValueError` if it has another number of them; `TypeError` if the settings
    are not those of the class.
    """
    kinds = TRANSFORMS.keys() & description.keys()
    if len(kinds) != 1:
        raise ValueError(
            f"a core needs one of {', '.join(TRANSFORMS)}; got {sorted(kinds)}"
        )
    (kind,) = kinds
    return TRANSFORMS[kind](stems, **description[kind])
