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

Every system of Tables 1 and 2 of the BandIt paper (arXiv:2309.02539), with our
[preset](presets.md), its size, the recipe that trains it, the weights that its
authors released, and the paper's scores. The columns "here" are empty: no model
has been scored on the real DnR or MUSDB18-HQ in this project yet. The command
that fills them stands above them.

`python recipes/table1.py` writes this page; sizes are counted from the presets.

## Sizes

Inputs are 6 s of one channel at 44.1 kHz.

{sizes}

Where the counts differ:

- **Multiply-adds.** The paper's "GFlops" are multiply-adds. Ours are those of
  the layers' products. The authors' counter adds gates, normalization and
  biases: about 1 % for BandIt and BSRNN.
- **Hybrid Demucs**: 59.5 G here, 85.0 G in the paper. A transposed convolution
  computes one product for each *input* position. The paper's figure fits a
  counter that takes each *output* position, four times as many.
- **BSRNN's parameters**: three models, one for each stem. The paper's figures are
  three times the rounded size of one: 25.8 M and 15.8 M.
- **Hybrid Demucs's parameters** include 1,536 that torchaudio's form has and
  never uses.
- **MRX and MRX-C**: the paper copies their scores from their authors, and reports
  no sizes. They have the same parameters; MRX-C adds up to the mixture.

## Training and weights

In the repository, with [DnR prepared](data.md):

```
python recipes/RECIPE --data-dir DATA --output RUN
```

{recipes}

- The files `dnr-*.ckpt` are those of Zenodo's record 10160698 (CC-BY-NC-4.0).
  MRX's is in the repository `merlresearch/cocktail-fork-separation` (MIT); its
  loss leaves the level of the stems open, so that its SI-SNR alone says
  something. No weights of MRX-C are released.
- `keras-bandit convert FILE DIR` makes a preset of such a file. The BSRNN models
  are three files, one for each stem: convert each, then join them with
  `BSRNNAudioSeparator.join`.
- The paper's batch, schedule and hardware are in the header of each recipe.

## Scores on DnR's test set

In dB: speech / music / effects / average. This fills a row, from a model that
was trained (`RUN/best`; of BSRNN, `RUN/preset`) or converted (`DIR`):

```
keras-bandit evaluate --preset RUN/best --data-dir DATA --output SCORES
```

With several `--preset` it makes one table of them; see
[Evaluation](evaluation.md#several-models). The oracles are rows of every
evaluation.

{scores}

## Table 2: MUSDB18-HQ

The paper reports no sizes here. Ours are for 6 s: of one channel for BandIt,
which takes each on its own, of two for Open-Unmix.

{musdb_sizes}

- TRAINED is a preset of BandIt with 64 musical bands, trained on DnR. Its
  encoder stays as it is; the sizes here are with four new decoders.
- The files of `umxhq` are those of Zenodo's record 3370489. `keras-bandit convert`
  takes the folder that holds them.

SNR in dB: vocals / drums / bass / other / average. Both recipes leave
`RUN/preset`:

```
keras-bandit evaluate --preset RUN/preset --data-dir DATA --output SCORES
```

{musdb_scores}
"""


def _table(rows, right=()):
    """Markdown; columns named in `right` are of numbers."""
    align = ["right" if name in right else "left" for name in rows[0]]
    return tabulate.tabulate(
        rows, "keys", "pipe", disable_numparse=True, colalign=align
    )


def _code(text):
    return f"`{text}`" if text else ""


def _size_row(system, paper=True):
    sizes = system.sizes()
    row = {
        "system": system.name,
        "preset": _code(system.preset),
        "parameters": f"{sizes.parameters:,}",
        "paper's": NOT_REPORTED,
        "multiply-adds": f"{sizes.multiply_adds / 1e9:.1f} G",
        "paper's GFlops": NOT_REPORTED,
    }
    if system.parameters_m:
        row["paper's"] = f"{system.parameters_m} M"
        row["paper's GFlops"] = str(system.gflops)
    if not paper:
        del row["paper's"], row["paper's GFlops"]
    return row


def _recipe_row(system):
    return {
        "system": system.name,
        "RECIPE": _code(system.recipe),
        "released weights": _code(system.weights) or "none",
    }


def _score_row(name, scores, columns, names):
    row = {"system": name}
    for score, title in columns.items():
        values = [scores[score].get(x) for x in names]
        known = None not in values
        row[f"paper's {title}"] = (
            " / ".join(f"{x}" for x in values) if known else NOT_REPORTED
        )
        row[f"{title} here"] = ""
    return row


def page():
    """The text of docs/table1.md."""
    numbers = ("parameters", "paper's", "multiply-adds", "paper's GFlops")
    both = {"snr": "SNR", "si_snr": "SI-SNR"}
    rows = [(x.name, x.scores) for x in TABLE_1_SYSTEMS]
    rows += [(title, TABLE_1[row]) for title, row in ORACLES.items()]
    return TEXT.format(
        sizes=_table([_size_row(x) for x in TABLE_1_SYSTEMS], numbers),
        recipes=_table([_recipe_row(x) for x in TABLE_1_SYSTEMS]),
        scores=_table([_score_row(*row, both, DNR) for row in rows]),
        musdb_sizes=_table(
            [
                _size_row(x, paper=False) | _recipe_row(x)
                for x in TABLE_2_SYSTEMS
            ],
            numbers,
        ),
        musdb_scores=_table(
            [
                _score_row(x.name, x.scores, {"snr": "SNR"}, MUSDB)
                for x in TABLE_2_SYSTEMS
            ]
        ),
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
