"""The numbers of BandIt's Tables 1 and 2 (Watcharasupat et al. 2023)."""

from keras_bandit.models.presets import PRESETS


def _scores(names, *values_db):
    """`{"snr": {name: dB}, "si_snr": …}`, the latter where it is given."""
    return {
        score: dict(zip(names, values, strict=True))
        for score, values in zip(("snr", "si_snr"), values_db, strict=False)
    }


_DNR = ("speech", "music", "effects", "average")
TABLE_1 = {
    "mixture": _scores(_DNR, (1.0, -6.8, -5.0, -3.6), (1.0, -6.8, -5.0, -3.6)),
    "irm": _scores(_DNR, (14.4, 9.0, 11.0, 11.5), (14.6, 8.4, 10.7, 11.2)),
    "psf": _scores(_DNR, (18.5, 12.9, 15.0, 15.4), (18.4, 12.7, 14.8, 15.3)),
}

# Where the paper has more than Table 1's row for a preset: Sec. V-E (M&E, as a
# sum and with a decoder of its own), BandIt+ and Table 2.
FULL_MODEL = "bandit_musical64"
MNE_SUM = {"snr": 13.9, "si_snr": 13.7}
MNE_DECODER = {"snr": 14.1, "si_snr": 13.9}
# Trained to the end; its average implies 9.1 for the SI-SNR of effects.
BANDIT_PLUS = _scores(_DNR, (15.7, 8.7, 9.8, 11.4), (15.6, 8.0, 8.2, 10.9))
TABLE_2 = _scores(
    ("vocals", "drums", "bass", "other", "average"), (5.5, 6.4, 4.4, 3.6, 5.0)
)

# Tracks of DnR v2's and MUSDB18-HQ's test sets.
TEST_TRACKS = {"dnr": 973, "musdb18_hq": 50}


def paper_rows(dataset, split, num_tracks, sample_rates, separator):
    """What the paper prints for the rows of an evaluation.

    `{row: [(label, {score: {name: float}}), …]}` in dB with "average" among
    the names; empty unless the data are the paper's, the whole test set of
    "dnr" or "musdb18_hq" at 44.1 kHz (DnR v3 has 48 kHz). The model's row of
    Table 1 is that of the preset with the same architecture and loss. A loss
    that its `metadata` does not record is taken to be the paper's, and the
    label says so.
    """
    dataset = (dataset or "").partition("/")[0]
    whole = num_tracks == TEST_TRACKS.get(dataset)
    if split != "test" or sample_rates != {44100} or not whole:
        return {}
    preset = built_like(separator)
    if dataset == "musdb18_hq":
        row = ("paper: BandIt, frozen encoder", TABLE_2)
        full = preset is not None and preset.name == FULL_MODEL
        return {"model": [row]} if full else {}
    rows = {row: [("paper", scores)] for row, scores in TABLE_1.items()}
    return {**rows, "model": _model_rows(preset, separator)}


def _model_rows(preset, separator):
    if preset is None:
        return []
    printed = preset.paper
    # Where `TrainingRun` puts it: in recipes the name of a class of `losses`.
    training = getattr(separator, "metadata", {}).get("training", {})
    loss, note = training.get("config", {}).get("loss"), ""
    if loss is None:
        loss, note = printed.loss, " (ours: not recorded)"
    if loss != printed.loss:
        return []
    scores = {"snr": printed.snr_db, "si_snr": printed.si_snr_db}
    rows = [(f"paper: {preset.name}, {loss}{note}", scores)]
    if preset.name == FULL_MODEL:
        mne = MNE_DECODER if "mne" in separator.stems else MNE_SUM
        for score, figures in scores.items():
            scores[score] = {**figures, "mne": mne[score]}
        rows.append((f"paper: BandIt+, {loss}{note}", BANDIT_PLUS))
    return rows


def built_like(separator):
    """The `Preset` of the paper that a model is built like, or `None`.

    Settings of the encoder decide; a model keeps its row with new decoders.
    """
    backbone = getattr(separator, "backbone", None)
    for preset in PRESETS.values():
        if preset.paper and type(separator).__name__ == preset.model:
            settings = {
                k: v for k, v in preset.backbone.items() if k != "stems"
            }
            own = {key: getattr(backbone, key, None) for key in settings}
            if own == settings:
                return preset
    return None
