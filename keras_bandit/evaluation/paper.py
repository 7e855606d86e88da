"""The numbers of BandIt's Tables 1 and 2 (Watcharasupat et al. 2023)."""

from keras_bandit.models.presets import (
    PRESETS,
)

DNR_STEMS = ["speech", "music", "effects"]
MUSDB_STEMS = ["vocals", "drums", "bass", "other"]

TABLE_1_MODELS = {
    name: (
        None,
        tuple(preset.paper.snr_db.values()),
        tuple(preset.paper.si_snr_db.values()),
    )
    for name, preset in PRESETS.items()
    if preset.paper
}

# SNR and SI-SNR in dB, as printed: speech, music, effects, average.
TABLE_1 = {
    "mixture": [(1.0, -6.8, -5.0, -3.6), (1.0, -6.8, -5.0, -3.6)],
    "irm": [(14.4, 9.0, 11.0, 11.5), (14.6, 8.4, 10.7, 11.2)],
    "psf": [(18.5, 12.9, 15.0, 15.4), (18.4, 12.7, 14.8, 15.3)],
}
# The loss of TABLE_1_MODELS, and the rows of bandit_vox7 with others.
TABLE_1_LOSS = {"bandit": "L1SNR", "bsrnn": "L1"}
VOX7_LOSSES = {
    "L1": [(13.3, 6.4, 7.8, 9.2), (13.0, 5.3, 6.9, 8.4)],
    "MSE": [(12.5, 5.5, 7.0, 8.3), (12.2, 4.1, 6.0, 7.4)],
    "L2SNR": [(13.5, 6.5, 7.9, 9.3), (13.3, 5.4, 7.1, 8.6)],
}
# Trained to the end; its average implies 9.1 for the SI-SNR of effects.
BANDIT_PLUS = [(15.7, 8.7, 9.8, 11.4), (15.6, 8.0, 8.2, 10.9)]

# M&E (Sec. V-E), SNR and SI-SNR: the sum of the outputs, a decoder of its own.
MNE_SUM = (13.9, 13.7)
MNE_DECODER = (14.1, 13.9)

# Table 2, SNR in dB: vocals, drums, bass, other, average.
TABLE_2_MODEL = (5.5, 6.4, 4.4, 3.6, 5.0)

# Tracks of DnR v2's and MUSDB18-HQ's test sets.
TEST_TRACKS = {"dnr": 973, "musdb18_hq": 50}


def paper_rows(dataset, split, num_tracks, sample_rates, separator):
    """What the paper prints for the rows of an evaluation.

    Args:
        dataset: str or `None`. The paper has "dnr" and "musdb18_hq"; what
            follows a slash, config and version, is not looked at.
        split: str or `None`. The paper has "test".
        num_tracks: int. The paper has the whole test sets, `TEST_TRACKS`;
            other numbers are parts of them, or other data in their folders.
        sample_rates: set of int. Of the tracks, in Hz. DnR v2 and
            MUSDB18-HQ have 44100; 48000 is DnR v3, which the paper has not.
        separator: the model. Its rows of Table 1 are those of the same
            architecture and the loss that its `metadata` records; with no
            loss recorded, those of the paper's usual one, and labelled so.

    Returns:
        `{row: [(label, {score: {name: float}}), …]}` in dB with "average"
        among the names, for the rows of `plan.ROWS` and `plan.MODEL`. Empty
        for other data.
    """
    dataset = (dataset or "").partition("/")[0]
    whole = num_tracks == TEST_TRACKS.get(dataset)
    if split != "test" or sample_rates != {44100} or not whole:
        return {}
    preset = architecture(separator)
    if dataset == "dnr":
        rows = {
            row: [("paper", _table_1_scores(numbers))]
            for row, numbers in TABLE_1.items()
        }
        rows["model"] = _table_1_models(
            preset, recorded_loss(separator), "mne" in separator.stems
        )
        return rows
    if dataset == "musdb18_hq" and preset == "bandit_musical64":
        names = [*MUSDB_STEMS, "average"]
        scores = {"snr": dict(zip(names, TABLE_2_MODEL, strict=True))}
        return {"model": [("paper: BandIt, frozen encoder", scores)]}
    return {}


def _table_1_models(preset, loss, has_mne_decoder):
    if preset is None:
        return []
    usual = TABLE_1_LOSS[preset.partition("_")[0]]
    printed = {usual: TABLE_1_MODELS[preset][1:]}
    if preset == "bandit_vox7":
        printed |= VOX7_LOSSES
    note = ""
    if loss is None:
        loss, note = usual, " (ours: not recorded)"
    if str(loss) not in printed:
        return []
    scores = _table_1_scores(printed[loss])
    rows = [(f"paper: {preset}, {loss}{note}", scores)]
    if preset == "bandit_musical64":
        plus = _table_1_scores(BANDIT_PLUS)
        rows.append((f"paper: BandIt+, {loss}{note}", plus))
        numbers = MNE_DECODER if has_mne_decoder else MNE_SUM
        scores["snr"]["mne"], scores["si_snr"]["mne"] = numbers
    return rows


def _table_1_scores(numbers):
    names = [*DNR_STEMS, "average"]
    return {
        score: dict(zip(names, values, strict=True))
        for score, values in zip(("snr", "si_snr"), numbers, strict=True)
    }


def recorded_loss(separator):
    """The loss in a model's `metadata`, as `TrainingRun` puts it there.

    Returns:
        `"loss"` of the run's configuration, in recipes the name of a class of
        `keras_bandit.losses`; `None` if there is none.
    """
    training = getattr(separator, "metadata", {}).get("training", {})
    return training.get("config", {}).get("loss")


def architecture(separator):
    """Name of the preset that a model is built like, or `None`.

    Decoders are left out of account: new ones on a known encoder do not
    change what it is.
    """
    backbone = getattr(separator, "backbone", None)
    for name in TABLE_1_MODELS:
        entry = PRESETS[name]
        settings = dict(entry.backbone)
        settings.pop("stems", None)
        if type(separator).__name__ == entry.model and all(
            getattr(backbone, key, None) == value
            for key, value in settings.items()
        ):
            return name
    return None
