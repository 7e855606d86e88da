"""What a built-in preset says of a model: plain data, no Keras."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PaperFigures:
    """A model's row in its paper; scores in dB, by stem and `"average"`.

    Attributes:
        parameters_m: float. Parameters in millions.
        gflops: float. "GFlops" for 6 s of mono; multiply-adds in fact.
        snr_db: dict of float, SNR on the paper's test set.
        si_snr_db: dict of float, SI-SNR.
        loss: str. Class of `keras_bandit.losses` that it was trained with.
    """

    parameters_m: float
    gflops: float
    snr_db: dict
    si_snr_db: dict
    loss: str


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of a model.

    Attributes:
        parameters: int.
        multiply_adds: int. Of one input, with as many channels as the model
            takes together.
        bands: list of int, the bands of each encoder; empty without bands.
    """

    parameters: int
    multiply_adds: int
    bands: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Preset:
    """A built-in architecture; a subclass for each model counts its sizes.

    Attributes:
        name: str, for `AudioSeparator.from_preset`.
        description: str, one line.
        separator: dict, arguments of the separator.
        backbone: dict, arguments of its backbone; empty without one.
        weights: str, folder of trained weights in the package, or `None`.
        paper: `PaperFigures`, or `None` where no paper has a row for it.
    """

    name: str
    description: str
    separator: dict
    backbone: dict = dataclasses.field(default_factory=dict)
    weights: str | None = None
    paper: PaperFigures | None = None

    model = None
    """Name of the separator's class."""

    @property
    def stems(self):
        """Names of the outputs, list of str."""
        return self.separator["stems"]

    @property
    def sample_rate(self):
        """Hz."""
        return {**self.separator, **self.backbone}["sample_rate"]

    def sizes(self, seconds=6.0):
        """Sizes, counted without building the model.

        Args:
            seconds: float. Length of the input that multiply-adds are for.

        Returns:
            `Sizes`.
        """
        raise NotImplementedError
