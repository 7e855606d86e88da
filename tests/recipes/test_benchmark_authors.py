"""The authors' side of the benchmark, with stand-ins for their modules."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.once

STEMS = ["speech", "music", "effects"]
RATE = 44100

# A gain for each stem in place of the network, 1 at first.
NETWORK = """
import torch

class MultiSourceMultiMaskBandSplitCoreRNN(torch.nn.Module):
    def __init__(self, in_channel, stems, **arguments):
        super().__init__()
        assert in_channel == 1
        self.arguments = arguments
        self.gains = torch.nn.ParameterDict(
            {stem: torch.nn.Parameter(torch.ones(())) for stem in stems}
        )

    def forward(self, spectrogram):
        return {
            "spectrogram": {s: g * spectrogram for s, g in self.gains.items()}
        }
"""
LOSS = """
class TimeFreqSignalNoisePNormRatioLoss:
    def __init__(self, tkwargs, fkwargs):
        assert tkwargs == fkwargs == {"p": 1}

    def __call__(self, output, targets):
        return sum(
            (output[domain][stem] - target).abs().mean()
            for domain, stems in targets.items()
            for stem, target in stems.items()
        )
"""
FADER = """
class OverlapAddFader:
    def __init__(self, *arguments):
        assert arguments == ("hann", 0.5, 0.25, 44100, 24)

    def __call__(self, audio, model):
        return {"audio": model(audio)}
"""


@pytest.fixture
def sides(benchmark):
    return benchmark.sides


@pytest.fixture
def case(tmp_path):
    """A case with a checkout whose packages cannot be imported as such."""
    core = tmp_path / "bandit" / "core"
    for path, text in (
        ("model/bsrnn/core.py", NETWORK),
        ("loss/_timefreq.py", LOSS),
        ("utils/audio.py", FADER),
    ):
        path = core / path
        path.parent.mkdir(parents=True)
        path.write_text(text)
    for package in (".", "model", "loss", "utils"):
        text = "raise ImportError('pytorch_lightning')\n"
        (core / package / "__init__.py").write_text(text)
    (core / "model" / "bsrnn" / "__init__.py").touch()
    return {
        "reference": str(tmp_path / "bandit"),
        "reference_matmul": torch.get_float32_matmul_precision(),
        "device": "cpu",
        "preset": "bandit_musical64",
        "batch": 2,
        "chunk_seconds": 0.5,
        "weights": str(tmp_path / "weights.npz"),
    }


def test_inference_of_the_authors(sides, case):
    case["task"] = "inference"
    outputs = sides.Theirs(case).time()["outputs"]
    mixture, _ = sides.make_audio(case, STEMS, RATE, 1)
    assert sorted(outputs) == sorted(STEMS)
    for estimate in outputs.values():
        # STFT and back.
        np.testing.assert_allclose(estimate, mixture[:1], rtol=0, atol=1e-6)
    with np.load(case["weights"]) as weights:
        assert sorted(weights) == [f"bsrnn.gains.{s}" for s in sorted(STEMS)]


def test_network_of_the_authors_gets_our_bands(sides, case):
    """The paper's sizes; musical bands' weights in float64, as theirs are."""
    subject = sides.Theirs({**case, "task": "inference"})
    arguments = subject.model.arguments
    weights = arguments.pop("freq_weights")
    specs = arguments.pop("band_specs")
    assert arguments == {
        "n_sqm_modules": 8,
        "emb_dim": 128,
        "rnn_dim": 256,
        "rnn_type": "GRU",
        "mlp_dim": 512,
        "overlapping_band": True,
        "n_freq": 1025,
    }
    assert len(specs) == len(weights) == 64
    for (start, stop), weight in zip(specs, weights, strict=True):
        assert weight.shape == (stop - start,)
        assert weight.dtype == torch.float64
    subject = sides.Theirs(
        {**case, "preset": "bandit_vox7", "task": "inference"}
    )
    assert subject.model.arguments["overlapping_band"] is False
    assert subject.model.arguments["freq_weights"][0].dtype == torch.float32


def test_training_of_the_authors(sides, case):
    subject = sides.Theirs({**case, "task": "training"})
    outputs = subject.time()["outputs"]
    (loss,) = outputs["loss"]
    assert loss > 0
    for gain in subject.model.gains.values():
        # Adam's first step is as long as its rate.
        assert gain.item() == pytest.approx(1 - 1e-3, abs=1e-6)
    outputs = subject.time()["outputs"]
    assert outputs["loss"][0] < loss


def test_whole_file_of_the_authors(sides, case):
    subject = sides.Theirs(
        {**case, "task": "separate", "batch": 1, "file_seconds": 1.0}
    )
    answered = subject.time()
    outputs = answered["outputs"]
    assert "snr_db" not in answered
    assert outputs["speech"].shape == (1, 1, RATE // 2)
    answered = subject.time(0.25)
    outputs = answered["outputs"]
    mixture = subject.mixture[0].numpy()
    expected = [
        sides.snr_db(x[0].numpy(), mixture) for x in subject.targets.values()
    ]
    assert outputs["speech"].shape == (1, 1, RATE)
    assert answered["snr_db"] == pytest.approx(np.mean(expected), abs=1e-3)


def test_facts_of_the_authors(sides, case):
    facts = sides.Theirs({**case, "task": "inference"}).facts()
    assert facts["build_seconds"] > 0
    assert facts["peak_bytes"] > 2**20
