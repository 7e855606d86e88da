"""The authors' side: their modules, from checkouts, in PyTorch and float32.

Of their dependencies PyTorch is enough: packages that serve files, datasets,
other losses and configurations are replaced by empty modules.
"""

import sys
import types
from pathlib import Path

import numpy as np
from sides import Model, forget_peak, make_audio, timed

from keras_bandit.bands import band_layout
from keras_bandit.models.presets import PRESETS


def stand_in(name, **members):
    """Makes a module of that name, empty but for `members`, importable."""
    module = sys.modules[name] = types.ModuleType(name)
    vars(module).update(members)
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)
    return module


def open_package(folder, *names):
    """Makes packages importable whose own `__init__` does not run."""
    for name in names:
        stand_in(name, __path__=[str(Path(folder, *name.split(".")))])


class Authors(Model):
    """A model as its authors run it, with weights that it draws itself.

    A subclass has `build()`, which returns the module, `estimates(mixture)`,
    which returns `{stem: waveform}`, and `batch_loss()`.
    """

    backend = "torch"

    def __init__(self, case):
        import torch

        torch.set_float32_matmul_precision(case["reference_matmul"])
        torch.manual_seed(0)
        self.case, self.torch = case, torch
        self.device = "cuda" if case["device"] == "gpu" else "cpu"
        self.preset = PRESETS[case["preset"]]
        self.sample_rate, self.stems = (
            self.preset.sample_rate,
            self.preset.stems,
        )
        channels = self.preset.separator.get("num_channels", 1)
        self.model, self.build_seconds = timed(
            lambda: self.build().to(self.device)
        )
        self.model.train(case["task"] == "training")
        for module in self.model.modules():
            # Both sides without: they would draw different numbers.
            if isinstance(module, torch.nn.RNNBase):
                module.dropout = 0.0
        np.savez(case["weights"], **self.arrays())
        forget_peak()
        mixture, targets = make_audio(
            case, self.stems, self.sample_rate, channels
        )
        self.mixture = torch.from_numpy(mixture)
        self.targets = {s: torch.from_numpy(x) for s, x in targets.items()}
        # As BandIt's configurations train all of them.
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def arrays(self, prefix=""):
        """The weights, as a checkpoint has them."""
        state = self.model.state_dict()
        return {f"{prefix}{key}": x.cpu().numpy() for key, x in state.items()}

    def by_stem(self, estimates):
        """Of `(batch, stems, channels, samples)`."""
        return dict(zip(self.stems, estimates.unbind(1), strict=True))

    def estimate(self, mixture):
        with self.torch.inference_mode():
            output = self.estimates(mixture.to(self.device))
            return {stem: x.cpu() for stem, x in output.items()}

    def inference(self, _):
        return self.estimate(self.mixture)

    def training(self, _):
        self.optimizer.zero_grad()
        targets = {s: x.to(self.device) for s, x in self.targets.items()}
        loss = self.batch_loss(self.mixture.to(self.device), targets)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        return {"loss": loss.item()}


class BanditAuthors(Authors):
    """`karnwatcharasupat/bandit`, with our bands, which equal theirs.

    Four helpers on bands are replaced, as their package needs librosa.
    """

    file = "core/model/bsrnn/core.py"

    def build(self):
        torch, case = self.torch, self.case
        open_package(
            case["reference"], "core", "core.model", "core.loss", "core.utils"
        )
        bands = stand_in("core.model.bsrnn.utils")
        bands.band_widths_from_specs = lambda specs: [b - a for a, b in specs]
        for check in ("no_gap", "no_overlap", "nonzero_bandwidth"):
            setattr(bands, f"check_{check}", lambda specs: None)
        stand_in("asteroid", losses=stand_in("asteroid.losses"))
        from core.loss._timefreq import TimeFreqSignalNoisePNormRatioLoss
        from core.model.bsrnn.core import MultiSourceMultiMaskBandSplitCoreRNN

        one = {"p": 1}
        self.loss = TimeFreqSignalNoisePNormRatioLoss(tkwargs=one, fkwargs=one)
        network, separator = self.preset.backbone, self.preset.separator
        layout = network["band_layout"]
        self.pad_mode = separator.get("pad_mode", "constant")
        self.window = torch.hann_window(2048, device=self.device)
        bands = band_layout(
            layout, network["num_bands"], 2048, self.sample_rate
        )
        # These two make their weights in float64, and multiply in it.
        exact = layout in ("musical", "bark")
        dtype = torch.float64 if exact else torch.float32
        return MultiSourceMultiMaskBandSplitCoreRNN(
            in_channel=1,
            stems=self.stems,
            band_specs=[(band.start, band.stop) for band in bands],
            n_sqm_modules=network["num_pairs"],
            emb_dim=network["embed_dim"],
            rnn_dim=network["rnn_dim"],
            rnn_type=network["rnn_type"].upper(),
            mlp_dim=separator["mlp_dim"],
            overlapping_band=layout != "vocals_v7",
            freq_weights=[torch.tensor(b.weights, dtype=dtype) for b in bands],
            n_freq=1025,
        )

    def arrays(self):
        return super().arrays("bsrnn.")

    def stft(self, audio):
        """`torchaudio.transforms.Spectrogram`, normalized by the window."""
        spectrogram = self.torch.stft(
            audio[:, 0],
            2048,
            512,
            window=self.window,
            pad_mode=self.pad_mode,
            return_complex=True,
        )
        return spectrogram[:, None] / self.window.square().sum().sqrt()

    def istft(self, spectrogram, length):
        spectrogram = spectrogram[:, 0] * self.window.square().sum().sqrt()
        return self.torch.istft(
            spectrogram, 2048, 512, window=self.window, length=length
        )[:, None]

    def forward(self, mixture):
        with self.torch.no_grad():
            spectrogram = self.stft(mixture)
        output = self.model(spectrogram)
        output["audio"] = {
            stem: self.istft(x, mixture.shape[-1])
            for stem, x in output["spectrogram"].items()
        }
        return output

    def estimates(self, mixture):
        return self.forward(mixture)["audio"]

    def batch_loss(self, mixture, targets):
        with self.torch.no_grad():
            spectra = {stem: self.stft(x) for stem, x in targets.items()}
        output = self.forward(mixture)
        return self.loss(output, {"audio": targets, "spectrogram": spectra})

    def separate(self, hop_seconds):
        """Their overlap-add on the whole file, in their batches of 24."""
        from core.utils.audio import OverlapAddFader

        seconds, rate = self.case["chunk_seconds"], self.sample_rate
        if hop_seconds is None:  # the first call: one chunk
            return self.estimate(self.mixture[..., : round(seconds * rate)])
        fader = OverlapAddFader("hann", seconds, hop_seconds, rate, 24)
        with self.torch.inference_mode():
            return fader(self.mixture, self.estimate)["audio"]


class OpenUnmixAuthors(Authors):
    """`sigsep/open-unmix-pytorch`: its separator, Wiener filter included.

    Trained by the mean squared error of magnitudes, with frames over the ends
    as BandIt's authors do or without, as the preset says.
    """

    file = "openunmix/model.py"

    def build(self):
        open_package(self.case["reference"], "openunmix")
        stand_in("torchaudio")
        from openunmix.model import OpenUnmix, Separator

        sizes = self.preset.separator
        num_bins = sizes["n_fft"] // 2 + 1
        networks = {
            stem: OpenUnmix(
                nb_bins=num_bins,
                nb_channels=sizes["num_channels"],
                hidden_size=sizes["hidden_dim"],
                unidirectional=not sizes["bidirectional"],
                max_bin=sizes["num_input_bins"],
            )
            for stem in self.stems
        }
        separator = Separator(
            networks,
            niter=sizes["niter"],
            sample_rate=self.sample_rate,
            n_fft=sizes["n_fft"],
            n_hop=sizes["hop_length"],
            nb_channels=sizes["num_channels"],
        )
        if self.case["task"] == "training":
            separator.stft.center = sizes.get("centred_training", False)
        return separator

    def arrays(self):
        found = super().arrays()
        return {k: x for k, x in found.items() if k.startswith("target_")}

    def estimates(self, mixture):
        return self.by_stem(self.model(mixture))

    def magnitude(self, audio):
        with self.torch.no_grad():
            return self.model.complexnorm(self.model.stft(audio))

    def batch_loss(self, mixture, targets):
        magnitude = self.magnitude(mixture)
        distance = self.torch.nn.functional.mse_loss
        return sum(
            distance(network(magnitude), self.magnitude(targets[stem]))
            for stem, network in self.model.target_models.items()
        )


class HybridDemucsAuthors(Authors):
    """`facebookresearch/demucs`, trained by L1 on waveforms."""

    file = "demucs/hdemucs.py"

    def build(self):
        open_package(self.case["reference"], "demucs")
        # Not called: of models of magnitudes, of resampling, of configurations.
        stand_in("openunmix")
        stand_in("openunmix.filtering", wiener=None)
        stand_in("julius")
        stand_in("omegaconf", OmegaConf=None)
        stand_in("dora")
        stand_in("dora.log", fatal=None)
        from demucs.hdemucs import HDemucs

        sizes = self.preset.separator
        return HDemucs(
            sources=self.stems,
            audio_channels=sizes["num_channels"],
            channels=sizes["channels"],
            growth=sizes["growth"],
            nfft=sizes["n_fft"],
            depth=sizes["depth"],
            dconv_init=sizes.get("dconv_scale", 1e-3),
            samplerate=self.sample_rate,
            segment=self.case["chunk_seconds"],
        )

    def arrays(self):
        found = super().arrays()
        if self.preset.separator["torchaudio_norm"]:
            # torchaudio's port has these two more, and does not use them.
            last = f"tencoder.{len(self.model.tencoder) - 1}"
            width = len(found[f"{last}.conv.bias"])
            found[f"{last}.norm1.weight"] = np.ones(width, "float32")
            found[f"{last}.norm1.bias"] = np.zeros(width, "float32")
        return found

    def estimates(self, mixture):
        return self.by_stem(self.model(mixture))

    def batch_loss(self, mixture, targets):
        distance = self.torch.nn.functional.l1_loss
        return sum(
            distance(x, targets[stem])
            for stem, x in self.estimates(mixture).items()
        )


class MRXAuthors(Authors):
    """`merlresearch/cocktail-fork-separation`, trained by negative SI-SNR."""

    file = "mrx.py"

    def build(self):
        sys.path.insert(0, self.case["reference"])
        from mrx import MRX
        from snr import snr_loss

        self.loss, sizes = snr_loss, self.preset.separator
        return MRX(
            n_sources=len(self.stems),
            window_lengths=sizes["window_lengths"],
            n_hop=sizes["hop_length"],
            n_hidden=sizes["hidden_dim"],
            n_lstm_layers=sizes["num_layers"],
        )

    def estimates(self, mixture):
        return self.by_stem(self.model(mixture))

    def batch_loss(self, mixture, targets):
        targets = self.torch.stack([targets[s] for s in self.stems], 1)
        return self.loss(self.model(mixture), targets).mean()


AUTHORS = {
    "BanditAudioSeparator": BanditAuthors,
    "OpenUnmixAudioSeparator": OpenUnmixAuthors,
    "HybridDemucsAudioSeparator": HybridDemucsAuthors,
    "MRXAudioSeparator": MRXAuthors,
}


def find_checkouts(folders):
    """Which model's code each checkout holds, `{model: folder}`.

    Raises:
        ValueError: if a folder is no such checkout.
    """
    found = {}
    for folder in folders:
        for model, authors in AUTHORS.items():
            if Path(folder, authors.file).is_file():
                found[model] = str(folder)
                break
        else:
            files = ", ".join(authors.file for authors in AUTHORS.values())
            raise ValueError(
                f"--reference must be checkouts of authors' code; got "
                f"{str(folder)!r}, which has none of {files}"
            )
    return found
