"""The authors' side of the benchmark, with stand-ins for their modules."""

import numpy as np
import pytest

from keras_bandit.models.presets import PRESETS

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


# Other models' code: each stem is the mixture, times a gain.
GAIN = """
import torch

class Gain(torch.nn.Module):
    def __init__(self, stems, **arguments):
        super().__init__()
        self.stems = stems
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.lstm = torch.nn.LSTM(1, 1, num_layers=2, dropout=0.4)

    def forward(self, mixture):
        return torch.stack([self.gain * mixture] * self.stems, 1)
"""
OTHERS = {
    "open_unmix_hq": {
        "openunmix/model.py": GAIN
        + """
class OpenUnmix(torch.nn.Module):
    def __init__(self, max_bin, **arguments):
        super().__init__()
        assert max_bin == 1487 and arguments["nb_bins"] == 2049
        self.fc1 = torch.nn.Linear(1, 1)

    def forward(self, magnitude):
        return magnitude * self.fc1.weight

class Transform(torch.nn.Module):
    center = True

    def forward(self, audio):
        assert not self.center
        return audio

class Separator(Gain):
    def __init__(self, networks, niter, **arguments):
        super().__init__(len(networks))
        assert niter == 1
        self.target_models = torch.nn.ModuleDict(networks)
        self.stft, self.complexnorm = Transform(), torch.abs
"""
    },
    "hybrid_demucs_dnr": {
        "demucs/hdemucs.py": GAIN
        + """
import julius
from dora.log import fatal
from omegaconf import OmegaConf
from openunmix.filtering import wiener

class HDemucs(Gain):
    def __init__(self, sources, dconv_init, **arguments):
        super().__init__(len(sources))
        assert dconv_init == 1e-4
        self.tencoder = torch.nn.ModuleList([torch.nn.Module()])
        self.tencoder[0].conv = torch.nn.Conv1d(1, 5, 1)
"""
    },
    "mrx": {
        "mrx.py": GAIN
        + """
class MRX(Gain):
    def __init__(self, n_sources, **arguments):
        super().__init__(n_sources)
        assert arguments["window_lengths"] == [1024, 2048, 8192]
""",
        "snr.py": "def snr_loss(x, y):\n    return (x - y).square()\n",
    },
}


@pytest.mark.parametrize("preset", OTHERS)
def test_other_models_of_the_authors(benchmark, preset, theirs, case, tmp_path):
    for name, text in OTHERS[preset].items():
        path = tmp_path / preset / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    known = PRESETS[preset]
    folder = str(tmp_path / preset)
    case |= {"preset": preset, "reference": folder}
    checkouts = benchmark.authors.find_checkouts
    assert checkouts([folder]) == {known.model: folder}
    subject = theirs({**case, "task": "inference"})
    assert not subject.model.training
    assert subject.model.lstm.dropout == 0
    outputs = subject.time()["outputs"]
    channels = known.separator.get("num_channels", 1)
    mixture, _ = benchmark.sides.make_audio(case, known.stems, RATE, channels)
    assert list(outputs) == known.stems
    for estimate in outputs.values():
        np.testing.assert_array_equal(estimate, mixture[:1])
    with np.load(case["weights"]) as weights:
        names = list(weights)
    if preset == "open_unmix_hq":  # buffers of the transforms are not ours
        assert all(name.startswith("target_models.") for name in names)
    if preset == "hybrid_demucs_dnr":
        assert "tencoder.0.norm1.bias" in names
    subject = theirs({**case, "task": "training"})
    losses = [subject.time()["outputs"]["loss"][0] for _ in range(2)]
    assert losses[0] > 0
    assert losses[1] != losses[0]


@pytest.fixture
def theirs(benchmark):
    return lambda case: benchmark.sides.make_subject(case, "theirs")


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
        "task": "inference",
        "reference": str(tmp_path / "bandit"),
        "reference_matmul": torch.get_float32_matmul_precision(),
        "device": "cpu",
        "preset": "bandit_musical64",
        "batch": 2,
        "chunk_seconds": 0.5,
        "weights": str(tmp_path / "weights.npz"),
    }


def test_inference_of_the_authors(benchmark, theirs, case):
    case["task"] = "inference"
    outputs = theirs(case).time()["outputs"]
    mixture, _ = benchmark.sides.make_audio(case, STEMS, RATE, 1)
    assert sorted(outputs) == sorted(STEMS)
    for estimate in outputs.values():
        # STFT and back.
        np.testing.assert_allclose(estimate, mixture[:1], rtol=0, atol=1e-6)
    with np.load(case["weights"]) as weights:
        assert sorted(weights) == [f"bsrnn.gains.{s}" for s in sorted(STEMS)]


def test_network_of_the_authors_gets_our_bands(theirs, case):
    """The paper's sizes; musical bands' weights in float64, as theirs are."""
    subject = theirs({**case, "task": "inference"})
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
    subject = theirs({**case, "preset": "bandit_vox7", "task": "inference"})
    assert subject.model.arguments["overlapping_band"] is False
    assert subject.model.arguments["freq_weights"][0].dtype == torch.float32


def test_training_of_the_authors(theirs, case):
    subject = theirs({**case, "task": "training"})
    outputs = subject.time()["outputs"]
    (loss,) = outputs["loss"]
    assert loss > 0
    for gain in subject.model.gains.values():
        # Adam's first step is as long as its rate.
        assert gain.item() == pytest.approx(1 - 1e-3, abs=1e-6)
    outputs = subject.time()["outputs"]
    assert outputs["loss"][0] < loss


def test_whole_file_of_the_authors(benchmark, theirs, case):
    subject = theirs(
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
        benchmark.sides.snr_db(x[0].numpy(), mixture)
        for x in subject.targets.values()
    ]
    assert outputs["speech"].shape == (1, 1, RATE)
    assert answered["snr_db"] == pytest.approx(np.mean(expected), abs=1e-3)


def test_facts_of_the_authors(theirs, case):
    facts = theirs({**case, "task": "inference"}).facts()
    assert facts["build_seconds"] > 0
    assert facts["peak_bytes"] > 2**20
