"""Which stems the model computes, and which are written or scored."""

import dataclasses

from keras_bandit.cli.console import CommandError


@dataclasses.dataclass(frozen=True)
class StemChoice:
    """What is computed of each file or track, and what is written.

    Args:
        computed: list of str. Stems that the model must give.
        stems: list of str. Stems that are written.
        mne: the two stems that make `mne`, or an empty tuple.
        residual: bool. Whether the residual is written.
    """

    computed: list
    stems: list
    mne: tuple
    residual: bool

    @property
    def written(self):
        """Names of the files, without suffix."""
        derived = ["mne"] * bool(self.mne) + ["residual"] * self.residual
        return [*self.stems, *derived]


def choose_stems(args, available):
    """Chooses stems from the arguments and those that the model has.

    Args:
        args: `argparse.Namespace` of `separate` or `evaluate`.
        available: list of str. The model's stems.

    Returns:
        `StemChoice`.

    Raises:
        CommandError: if the model lacks a stem, or has one of the name of
            another file.
    """
    from keras_bandit.inference.separation import check_adds_up

    available = list(available)
    stems = args.stems or available
    unknown = [stem for stem in stems if stem not in available]
    if unknown:
        raise CommandError(
            f"--stems: this model has no {', '.join(unknown)}; it has "
            f"{', '.join(available)}"
        )
    effects = [stem for stem in ("effects", "sfx") if stem in available]
    if args.mne and not ("music" in available and effects):
        raise CommandError(
            "--mne needs the stems music and effects (or sfx); this model "
            f"has {', '.join(available)}"
        )
    mne = ("music", effects[0]) if args.mne else ()
    computed = list(dict.fromkeys([*stems, *mne]))
    if args.mixture_consistency:
        computed = available
        try:
            check_adds_up(available)
        except ValueError as error:
            raise CommandError(f"--mixture-consistency: {error}") from error
    chosen = StemChoice(computed, stems, mne, args.residual)
    for name in chosen.written:
        if chosen.written.count(name) > 1:
            raise CommandError(f"--{name}: this model has a stem of that name")
    return chosen
