"""Write docs/table1.md: the systems of BandIt's Tables 1 and 2, and ours.

Paper: Watcharasupat et al. 2023, arXiv:2309.02539.
Command:
    python recipes/table1.py
Needs neither Keras nor data: sizes are counted from the presets.
"""

import dataclasses
import pathlib

import tabulate

from keras_bandit.evaluation.paper import BANDIT_PLUS, TABLE_1, TABLE_2
from keras_bandit.models.presets import PRESETS

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "table1.md"
DNR = ("speech", "music", "effects", "average")
MUSDB = ("vocals", "drums", "bass", "other", "average")
NOT_REPORTED = "not reported"


@dataclasses.dataclass(frozen=True)
class System:
    """A row of a table of the paper."""

    name: str
    preset: str
    recipe: str  # script with its options
    weights: str  # file that the authors released
    scores: dict  # of the paper, `{"snr": {name: dB}, "si_snr": …}`
    parameters_m: float | None = None  # the paper's, millions
    gflops: float | None = None

    def sizes(self):
        """Our counts, `Sizes`."""
        preset = PRESETS[self.preset]
        if "vocals" in self.scores["snr"] and "music" in preset.stems:
            # New decoders on the encoder of a film-sound model.
            stems = {"stems": list(MUSDB[:-1])}
            preset = dataclasses.replace(
                preset, separator={**preset.separator, **stems}
            )
        return preset.sizes()


def _scores(snr_db, si_snr_db, names=DNR):
    """The paper's, `None` where it has none."""
    rows = {"snr": snr_db, "si_snr": si_snr_db}
    return {
        score: dict(zip(names, values or (), strict=values is not None))
        for score, values in rows.items()
    }


def _bandit(bands, preset, loss="L1SNR", snr_db=None, si_snr_db=None):
    """A BandIt; scores of L1SNR are those of its preset."""
    paper = PRESETS[f"bandit_{preset}"].paper
    scores = {"snr": paper.snr_db, "si_snr": paper.si_snr_db}
    if snr_db:
        scores = _scores(snr_db, si_snr_db)
    weights = preset.replace("musical", "mus")
    # The authors' file of the MSE is named after the norm.
    norm = "l2" if loss == "MSE" else loss.lower()
    return System(
        f"BandIt, {bands}, {loss}",
        f"bandit_{preset}",
        f"bandit_dnr.py --preset bandit_{preset} --loss {loss}",
        f"dnr-3s-{weights}-{norm}.ckpt",
        scores,
        paper.parameters_m,
        paper.gflops,
    )


def _bsrnn(name, preset):
    paper = PRESETS[f"bsrnn_{preset}_vox7"].paper
    return System(
        f"{name}, Vocals V7, L1",
        f"bsrnn_{preset}_vox7",
        f"bsrnn_dnr.py --preset bsrnn_{preset}_vox7",
        f"dnr-bsrnn-{preset}-vox7-l1-{{speech,music,effects}}.ckpt",
        {"snr": paper.snr_db, "si_snr": paper.si_snr_db},
        paper.parameters_m,
        paper.gflops,
    )


_KINDS = [("Mel", "mel"), ("TriBark", "tribark"), ("ERB", "erb")]
_48 = [("Bark", "bark"), *_KINDS, ("Music", "musical")]
_64 = [*_KINDS, ("Bark", "bark"), ("Music", "musical")]

TABLE_1_SYSTEMS = [
    _bsrnn("BSRNN-LSTM12", "lstm12"),
    _bsrnn("BSRNN-GRU8", "gru8"),
    _bandit(
        "Vocals V7", "vox7", "L1", (13.3, 6.4, 7.8, 9.2), (13.0, 5.3, 6.9, 8.4)
    ),
    _bandit(
        "Vocals V7", "vox7", "MSE", (12.5, 5.5, 7.0, 8.3), (12.2, 4.1, 6.0, 7.4)
    ),
    _bandit("Vocals V7", "vox7"),
    _bandit(
        "Vocals V7",
        "vox7",
        "L2SNR",
        (13.5, 6.5, 7.9, 9.3),
        (13.3, 5.4, 7.1, 8.6),
    ),
    *[_bandit(f"{title} 48", f"{name}48") for title, name in _48],
    *[_bandit(f"{title} 64", f"{name}64") for title, name in _64],
    dataclasses.replace(
        _bandit("Music 64", "musical64"),
        name="BandIt+, Music 64, L1SNR",
        recipe="bandit_dnr.py --preset bandit_musical64 --loss L1SNR "
        "--epochs 500",
        weights="dnr-3s-mus64-l1snr-plus.ckpt",
        scores=BANDIT_PLUS,
    ),
    System(
        "Open-Unmix (umxhq)",
        "open_unmix_dnr",
        "open_unmix_dnr.py",
        "dnr-umxhq.ckpt",
        _scores((11.6, 4.9, 5.8, 7.4), (11.3, 3.2, 4.4, 6.3)),
        22.1,
        5.7,
    ),
    System(
        "MRX",
        "mrx",
        "mrx_dnr.py --preset mrx",
        "paper_mrx_pre_trained_weights.pth",
        _scores(None, (12.3, 4.2, 5.7, 7.4)),
    ),
    System(
        "MRX-C",
        "mrx_c",
        "mrx_dnr.py --preset mrx_c",
        "",
        _scores(None, (12.6, 4.6, 6.1, 7.8)),
    ),
    System(
        "Hybrid Demucs (v3)",
        "hybrid_demucs_dnr",
        "hybrid_demucs_dnr.py",
        "dnr-demucs.ckpt",
        _scores((13.6, 6.0, 7.2, 8.9), (13.4, 4.7, 6.1, 8.1)),
        83.6,
        85.0,
    ),
]

TABLE_2_SYSTEMS = [
    System(
        "BandIt (Music 64, frozen enc.)",
        "bandit_musical64",
        "transfer_musdb18.py --preset TRAINED",
        "",
        {"snr": TABLE_2["snr"], "si_snr": {}},
    ),
    System(
        "Open-Unmix (umxhq)",
        "open_unmix_hq",
        "open_unmix_musdb18.py",
        "vocals-b62c91ce.pth, drums-9619578f.pth, bass-8d85a5bd.pth, "
        "other-b52fbbf7.pth",
        _scores((6.0, 5.6, 4.4, 3.4, 4.9), None, MUSDB),
    ),
]

ORACLES = {
    "Mixture": "mixture",
    "Ideal Ratio Mask": "irm",
    "Phase Sensitive Filter": "psf",
}

TEXT = """\
# Table 1

Tables 1 and 2 of the BandIt paper (arXiv:2309.02539), with the sizes of the same
systems here. Scores are the paper's: no model has been scored on the real DnR or
MUSDB18-HQ in this project yet. `python recipes/table1.py` writes this page; sizes are
counted from the [presets](presets.md).

## DnR

For 6 s of one channel at 44.1 kHz: parameters and multiply-adds here, beside the
paper's in brackets. Scores on DnR's test set in dB: speech / music / effects / average.

{table1}

Where the counts differ:

- **Multiply-adds.** The paper's "GFlops" are multiply-adds. The authors' counter adds
  gates, normalization and biases to the layers' products: about 1 % for BandIt and
  BSRNN.
- **Hybrid Demucs**: a transposed convolution computes one product for each *input*
  position. The paper's figure fits a counter that takes each *output* position, four
  times as many. Of its parameters, 1,536 are in torchaudio's form and never used.
- **BSRNN's parameters**: the paper's figures are three times the rounded size of one
  stem's model, 25.8 M and 15.8 M.
- **MRX and MRX-C**: the paper copies their scores from their authors, and reports no
  sizes. MRX-C is MRX whose stems add up to the mixture.

## Training and weights

In the repository, with [DnR prepared](data.md), the first command trains a system, and
the second scores it (`RUN/preset` for BSRNN; `DIR` for a converted checkpoint), with
the oracles beside it:

```
python recipes/RECIPE --data-dir DATA --output RUN
keras-bandit evaluate --preset RUN/best --data-dir DATA --output SCORES
```

{recipes}

- Recipes without `--preset` train the preset of their own name. The paper's batch,
  schedule and hardware are in the header of each.
- The files `dnr-*.ckpt` are those of Zenodo's record 10160698 (CC-BY-NC-4.0).
  MRX's is in the repository `merlresearch/cocktail-fork-separation` (MIT); its
  loss leaves the level of the stems open, so that its SI-SNR alone says something.
- `keras-bandit convert FILE DIR` makes a preset of such a file. The BSRNN models
  are three files, one for each stem: convert each, then join them with
  `BSRNNAudioSeparator.join`.

## Table 2: MUSDB18-HQ

For 6 s: of one channel for BandIt, which takes each on its own, of two for Open-Unmix.
The paper reports no sizes. SNR in dB: vocals / drums / bass / other / average.

{table2}

- TRAINED is a preset of BandIt with 64 musical bands, trained on DnR. Its
  encoder stays as it is; the sizes here are with four new decoders.
- The files of `umxhq` are those of Zenodo's record 3370489. `keras-bandit convert`
  takes the folder that holds them.
- Both recipes leave `RUN/preset`, which `keras-bandit evaluate` scores as above.
"""


def _table(rows):
    """Markdown; sizes are aligned at the right."""
    sizes = ("parameters", "multiply-adds")
    align = ["right" if x.startswith(sizes) else "left" for x in rows[0]]
    return tabulate.tabulate(
        rows, "keys", "pipe", disable_numparse=True, colalign=align
    )


def _code(text):
    return f"`{text}`" if text else ""


def _with_paper(here, paper):
    return f"{here} ({paper or NOT_REPORTED})"


def _size_row(system, paper=True):
    sizes = system.sizes()
    parameters = f"{sizes.parameters:,}"
    multiply_adds = f"{sizes.multiply_adds / 1e9:.1f} G"
    if paper:
        millions = system.parameters_m and f"{system.parameters_m} M"
        parameters = _with_paper(parameters, millions)
        gflops = system.gflops and f"{system.gflops} G"
        multiply_adds = _with_paper(multiply_adds, gflops)
    beside = " (paper's)" if paper else ""
    return {
        "system": system.name,
        f"parameters{beside}": parameters,
        f"multiply-adds{beside}": multiply_adds,
    }


def _recipe_row(system):
    return {
        "system": system.name,
        "RECIPE": _code(system.recipe),
        "released weights": _code(system.weights) or "none",
    }


def _score_row(scores, columns, names):
    row = {}
    for score, title in columns.items():
        values = [scores[score].get(x) for x in names]
        known = None not in values
        row[title] = " / ".join(f"{x}" for x in values) if known else ""
    return row


def page():
    """The text of docs/table1.md."""
    both = {"snr": "SNR", "si_snr": "SI-SNR"}
    rows = [
        _size_row(x) | _score_row(x.scores, both, DNR) for x in TABLE_1_SYSTEMS
    ]
    rows += [
        {"system": title} | _score_row(TABLE_1[row], both, DNR)
        for title, row in ORACLES.items()
    ]
    return TEXT.format(
        table1=_table(rows),
        recipes=_table([_recipe_row(x) for x in TABLE_1_SYSTEMS]),
        table2=_table(
            [
                _size_row(x, paper=False)
                | _score_row(x.scores, {"snr": "SNR"}, MUSDB)
                | _recipe_row(x)
                for x in TABLE_2_SYSTEMS
            ]
        ),
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
