"""How a model tells its checkpoints: the contract of `*_checkpoint.py`."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class CheckpointFormat:
    """One layout of checkpoint files.

    Attributes:
        name: str, kept in the metadata of what is converted.
        keys: str, what its tensors' names look like, for messages.
        recognizes: function of the tensors' names, a list of str, to bool.
        sample_rates: tuple of int, Hz: its usual rates, most likely first.
        build: function of `({name: float32 array}, sample_rates)` to an
            `AudioSeparator` with these weights; raises `ValueError` where the
            tensors do not fit. `sample_rates` is the one rate that is known,
            or the usual ones.
        settings: tuple of str, what the files cannot say and `build` takes
            by name: `"hop_length"`, `"stems"`.
    """

    name: str
    keys: str
    recognizes: Callable
    sample_rates: tuple
    build: Callable
    settings: tuple = ()
