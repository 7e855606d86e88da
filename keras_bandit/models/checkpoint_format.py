"""How a model tells its checkpoints: the contract of `*_checkpoint.py`."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class CheckpointFormat:
    """One layout of checkpoint files.

    `build` is a function of `({name: float32 array}, sample_rates)` to an
    `AudioSeparator` with these weights; it raises `ValueError` where the
    tensors do not fit. It is given the one rate that is known, or all of
    `sample_rates`.
    """

    name: str  # kept in the metadata of what is converted
    keys: str  # what its tensors' names look like, for messages
    recognizes: Callable  # of the tensors' names, a list of str, to bool
    sample_rates: tuple  # Hz, its usual rates, most likely first
    build: Callable
    # What the files cannot say and `build` takes by name: hop_length, stems
    settings: tuple = ()


def check_stem_count(stems, count):
    """`ValueError` unless `stems` name as many as a checkpoint has."""
    if stems is None or len(stems) != count:
        raise ValueError(
            f"the checkpoint has {count} stems: stems (--stems) must name as "
            f"many; got {stems}"
        )
