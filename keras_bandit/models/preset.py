"""What a built-in preset says of a model: plain data, no Keras."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PaperFigures:
    """A model's row in its paper; scores in dB, by stem and `"average"`."""

    parameters_m: float  # millions
    gflops: float  # "GFlops" for 6 s of mono, multiply-adds in fact
    snr_db: dict  # on the paper's test set
    si_snr_db: dict
    loss: str  # class of `keras_bandit.losses` that it was trained with


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of a model."""

    parameters: int
    multiply_adds: int  # of one input of as many channels as are taken together
    bands: list = dataclasses.field(default_factory=list)  # of each encoder


@dataclasses.dataclass(frozen=True)
class Preset:
    """A built-in architecture; a subclass for each model counts its sizes."""

    name: str  # for `AudioSeparator.from_preset`
    description: str  # one line
    separator: dict  # arguments of the separator
    backbone: dict = dataclasses.field(default_factory=dict)  # of its backbone
    # Folder of trained weights in the package, or `ReleasedWeights`
    weights: str | object | None = None
    paper: PaperFigures | None = None

    model = None  # name of the separator's class

    @property
    def stems(self):
        """Names of the outputs, list of str."""
        return self.separator["stems"]

    @property
    def sample_rate(self):
        """Hz."""
        return {**self.separator, **self.backbone}["sample_rate"]

    def sizes(self, seconds=6.0):
        """`Sizes`, counted without building, for an input of this length."""
        raise NotImplementedError
