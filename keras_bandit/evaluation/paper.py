"""The numbers of BandIt's Tables 1 and 2 (Watcharasupat et al. 2023)."""

from keras_bandit.presets import (
    DNR_STEMS,
    MUSDB_STEMS,
    PRESETS,
    TABLE_1_MODELS,
)

# SNR and SI-SNR in dB, as printed: speech, music, effects, average.
TABLE_1 = {
    "mixture": [(1.0, -6.8, -5.0, -3.6), (1.0, -6.8, -5.0, -3.6)],
    "irm": [(14.4, 9.0, 11.0, 11.5), (14.6, 8.4, 10.7, 11.2)],
    "psf": [(18.5, 12.9, 15.0, 15.4), (18.4, 12.7, 14.8, 15.3)],
}
# Trained to the end; its average implies 9.1 for the SI-SNR of effects.
BANDIT_PLUS = [(15.7, 8.7, 9.8, 11.4), (15.6, 8.0, 8.2, 10.9)]

# M&E (Sec. V-E), SNR and SI-SNR: the sum of the outputs, a decoder of its own.
MNE_SUM = (13.9, 13.7)
MNE_DECODER = (14.1, 13.9)

# Table 2, SNR in dB: vocals, drums, bass, other, average.
TABLE_2_MODEL = (5.5, 6.4, 4.4, 3.6, 5.0)


def paper_rows(dataset, split, sample_rates, separator):
    """What the paper prints for the rows of an evaluation.

    Args:
        dataset: str or `None`. The paper has "dnr" and "musdb18_hq"; what
            follows a slash, config and version, is not looked at.
        split: str or `None`. The paper has "test".
        sample_rates: set of int. Of the tracks, in Hz. DnR v2 and
            MUSDB18-HQ have 44100; 48000 is DnR v3, which the paper has not.
        separator: the model. Its rows are those of the same architecture.

    Returns:
        `{row: [(label, {score: {name: float}}), …]}` in dB with "average"
        among the names, for the rows of `plan.ROWS` and `plan.MODEL`. Empty
        for other data.
    """
    if split != "test" or sample_rates != {44100}:
        return {}
    dataset = (dataset or "").partition("/")[0]
    preset = architecture(separator)
    if dataset == "dnr":
        rows = {
            row: [("paper", _table_1_scores(numbers))]
            for row, numbers in TABLE_1.items()
        }
        rows["model"] = _table_1_models(preset, "mne" in separator.stems)
        return rows
    if dataset == "musdb18_hq" and preset == "bandit_musical64":
        names = [*MUSDB_STEMS, "average"]
        scores = {"snr": dict(zip(names, TABLE_2_MODEL, strict=True))}
        return {"model": [("paper: BandIt, frozen encoder", scores)]}
    return {}


def _table_1_models(preset, has_mne_decoder):
    rows = []
    if preset in TABLE_1_MODELS:
        scores = _table_1_scores(TABLE_1_MODELS[preset][1:])
        rows.append((f"paper: {preset}", scores))
    if preset == "bandit_musical64":
        rows.append(("paper: BandIt+", _table_1_scores(BANDIT_PLUS)))
        numbers = MNE_DECODER if has_mne_decoder else MNE_SUM
        scores["snr"]["mne"], scores["si_snr"]["mne"] = numbers
    return rows


def _table_1_scores(numbers):
    names = [*DNR_STEMS, "average"]
    return {
        score: dict(zip(names, values, strict=True))
        for score, values in zip(("snr", "si_snr"), numbers, strict=True)
    }


def architecture(separator):
    """Name of the preset that a model is built like, or `None`.

    Decoders are left out of account: new ones on a known encoder do not
    change what it is.
    """
    backbone = getattr(separator, "backbone", None)
    for name in TABLE_1_MODELS:
        entry = PRESETS[name]
        settings = dict(entry["backbone"])
        settings.pop("stems", None)
        if type(separator).__name__ == entry["class"] and all(
            getattr(backbone, key, None) == value
            for key, value in settings.items()
        ):
            return name
    return None
