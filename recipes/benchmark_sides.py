"""The two sides of `benchmark.py`: this package, and the authors' code.

Started by it, one process for each side of each case, with the case and then
requests on standard input; see `work`.
"""

import json
import os
import re
import resource
import statistics
import sys
import time
import types
from pathlib import Path

import numpy as np

DTYPES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


def snr_db(target, estimate):
    """Target over error in dB, infinite if they are equal."""
    target, estimate = np.float64(target), np.float64(estimate)
    error = np.sum((target - estimate) ** 2)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.sum(target**2) / error))


def make_audio(case, stems, sample_rate, channels):
    """A mixture and its stems, the same on both sides.

    Returns:
        `(batch, channels, samples)` float32 and `{stem: of that shape}`; items
        are one clip, rolled. Stems of other names than the clip's get one of
        its stems each.
    """
    from keras_bandit.data.film_clip import film_clip

    seconds = case.get("file_seconds", case["chunk_seconds"])
    clip = film_clip(max(seconds, 1), sample_rate, channels)
    samples = round(seconds * sample_rate)
    batch = {
        name: np.stack(
            [np.roll(x, i * 997, -1)[:, :samples] for i in range(case["batch"])]
        )
        for name, x in clip.items()
    }
    names = [name if name in clip else None for name in stems]
    for i, name in enumerate(names):
        names[i] = name or list(clip)[i % len(clip)]
    targets = {
        stem: batch[name] for stem, name in zip(stems, names, strict=True)
    }
    return sum(batch.values()), targets


def matmul_rate(product, operand, size):
    """Multiply-adds per second of a square matrix product, best of many.

    Args:
        product: callable that multiplies two operands and waits.
        operand: the backend's `(size, size)` matrix.
        size: int.
    """
    product(operand, operand)
    best, end = np.inf, time.perf_counter() + 1.0
    while time.perf_counter() < end:
        before = time.perf_counter()
        product(operand, operand)
        best = min(best, time.perf_counter() - before)
    return size**3 / best


def peak_bytes():
    """Largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # `getrusage` counts the process that started this one, too.
        found = re.search(
            r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE
        )
        if found:
            return 1024 * int(found[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Ours:
    """A separator of this package on the backend of this process."""

    def __init__(self, case):
        keras_engine = case["engine"] == "keras"
        if not keras_engine:
            from keras_bandit.inference.engines import (
                choose_engine,
                with_engine,
            )

            # What cannot run is refused before anything is built.
            choose_engine(case["engine"], case["precision"])
        before = time.perf_counter()
        import keras

        from keras_bandit.backend.process import tune_process
        from keras_bandit.models import AudioSeparator

        self.case, self.facts = case, {}
        self.facts["import_seconds"] = time.perf_counter() - before
        if keras_engine:  # as the command line and training runs do
            tune_process()
        keras.utils.set_random_seed(0)
        before = time.perf_counter()
        dtype = DTYPES[case["precision"] if keras_engine else "float32"]
        self.separator = AudioSeparator.from_preset(case["preset"], dtype=dtype)
        self.facts["build_seconds"] = time.perf_counter() - before
        self.facts["multiply_adds"] = multiply_adds(
            self.separator, case["chunk_seconds"]
        )
        self.share_weights()
        self.mixture, self.targets = make_audio(
            case,
            self.separator.stems,
            self.separator.sample_rate,
            self.separator.num_channels or 1,
        )
        if case["task"] == "training":
            self.compile()
        if not keras_engine:
            before = time.perf_counter()
            self.separator = with_engine(
                self.separator, case["engine"], case["precision"]
            )
            self.facts["build_seconds"] += time.perf_counter() - before

    def share_weights(self):
        """Takes the weights of the other side, or of the first such case."""
        path = Path(self.case["weights"])
        if self.case["trained"]:
            return
        if not path.exists():
            np.savez(path, *self.separator.get_weights())
            return
        with np.load(path) as file:
            arrays = dict(file)
        if "arr_0" in arrays:
            self.separator.set_weights(
                [arrays[f"arr_{i}"] for i in range(len(arrays))]
            )
            return
        from keras_bandit.convert import formats, sizes, weights

        model = formats.v1_models(arrays)[None]
        formats.frequency_weights(model)
        found = sizes.read_sizes(model)
        weights.assign_encoder(self.separator.backbone, model, found)
        for stem, decoder in self.separator.decoders.items():
            weights.assign_decoder(decoder, model, stem, found)

    def compile(self):
        from keras_bandit.losses import L1SNR
        from keras_bandit.training import paper_optimizer

        self.separator.compile(paper_optimizer(), loss=L1SNR())

    def inference(self, _):
        return self.separator.predict_on_batch(self.mixture)

    def training(self, _):
        return {
            "loss": self.separator.train_on_batch(self.mixture, self.targets)
        }

    def separate(self, hop_seconds):
        from keras_bandit.inference import separate

        audio = self.mixture[0]
        if hop_seconds is None:  # the first call: one batch of one chunk
            hop_seconds = self.case["chunk_seconds"]
            audio = audio[:, : self.case["chunk_samples"]]
        estimates = separate(
            self.separator,
            audio,
            self.separator.sample_rate,
            chunk_seconds=self.case["chunk_seconds"],
            hop_seconds=hop_seconds,
            batch_size=self.case["file_batch"],
        )
        return {stem: x[np.newaxis] for stem, x in estimates.items()}

    def finish(self):
        """Peak memory, then the rate of the backend's matrix products."""
        import keras
        from keras import ops

        gpu = self.case["device"] == "gpu"
        backend = keras.backend.backend()
        self.facts["host_peak_bytes"] = self.facts["peak_bytes"] = peak_bytes()
        if gpu:
            self.facts |= gpu_facts(backend)
        size = 8192 if gpu else 2048
        matrix = np.random.default_rng(0).standard_normal((size, size))
        operand = ops.cast(
            ops.convert_to_tensor(matrix.astype("float32")),
            self.case["precision"],
        )

        def product(a, b):
            # NumPy does not take TensorFlow's scalars in bfloat16.
            element = ops.cast(ops.matmul(a, b)[0, 0], "float32")
            return ops.convert_to_numpy(element)

        self.facts["matmul_rate"] = matmul_rate(product, operand, size)
        return self.facts


def multiply_adds(separator, seconds):
    """Multiply-adds of one item, those of the layers' products.

    `frames * (encoder + decoders)` of `keras_bandit.models.preset_sizes`, where
    each residual block counts `bands * (2 * gates * units * (embed_dim +
    units) + 2 * units * embed_dim)` per frame, gates 3 (GRU) or 4 (LSTM). The
    paper's Table 1 adds gates, biases and normalization: 1 % more.
    """
    from keras_bandit.models.preset_sizes import preset_sizes

    entry = {
        "class": type(separator).__name__,
        "backbone": separator.backbone.get_config(),
        "separator": {
            key: getattr(separator, key)
            for key in ("stems", "hop_length", "mlp_dim")
        },
    }
    return preset_sizes(entry, seconds)["multiply_adds"]


def gpu_facts(backend):
    """Name of the GPU and the most memory held there.

    Raises:
        RuntimeError: if the backend sees none.
    """
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return {
                "device_name": torch.cuda.get_device_name(),
                "peak_bytes": torch.cuda.max_memory_allocated(),
            }
    elif backend == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "gpu":
            return {
                "device_name": device.device_kind,
                "peak_bytes": device.memory_stats()["peak_bytes_in_use"],
            }
    else:
        import tensorflow as tf

        for device in tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(device)
            memory = tf.config.experimental.get_memory_info("GPU:0")
            return {
                "device_name": details.get("device_name"),
                "peak_bytes": memory["peak"],
            }
    raise RuntimeError(f"--device gpu: {backend} finds no GPU")


def import_reference(folder):
    """Makes the authors' modules importable from their checkout.

    Their packages' own imports (Lightning, torchaudio, asteroid, librosa,
    spafe) serve datasets, other losses and the making of bands; none of it
    runs here. Packages come up empty, and four helpers on bands are replaced.
    """
    for name in ("core", "core.model", "core.loss", "core.utils"):
        package = types.ModuleType(name)
        package.__path__ = [str(Path(folder, *name.split(".")))]
        sys.modules[name] = package
    bands = types.ModuleType("core.model.bsrnn.utils")
    bands.band_widths_from_specs = lambda specs: [b - a for a, b in specs]
    for check in ("no_gap", "no_overlap", "nonzero_bandwidth"):
        setattr(bands, f"check_{check}", lambda specs: None)
    sys.modules[bands.__name__] = bands
    asteroid = types.ModuleType("asteroid")
    asteroid.losses = types.ModuleType("asteroid.losses")
    sys.modules |= {"asteroid": asteroid, "asteroid.losses": asteroid.losses}


class Theirs:
    """The authors' modules with our bands, in float32, as they run them."""

    def __init__(self, case):
        import torch

        from keras_bandit.bands import band_layout
        from keras_bandit.models.preset_sizes import preset_sizes
        from keras_bandit.models.presets import PRESETS

        import_reference(case["reference"])
        from core.model.bsrnn.core import MultiSourceMultiMaskBandSplitCoreRNN

        torch.set_float32_matmul_precision(case["reference_matmul"])
        torch.manual_seed(0)
        self.case, self.torch = case, torch
        self.device = "cuda" if case["device"] == "gpu" else "cpu"
        entry = PRESETS[case["preset"]]
        network, separator = entry["backbone"], entry["separator"]
        layout, self.stems = network["band_layout"], separator["stems"]
        self.sample_rate = network.get("sample_rate", 44100)
        self.pad_mode = separator.get("pad_mode", "constant")
        bands = band_layout(
            layout, network["num_bands"], 2048, self.sample_rate
        )
        # These two make their weights in float64, and multiply in it.
        exact = layout in ("musical", "bark")
        before = time.perf_counter()
        self.model = MultiSourceMultiMaskBandSplitCoreRNN(
            in_channel=1,
            stems=self.stems,
            band_specs=[(band.start, band.stop) for band in bands],
            n_sqm_modules=network["num_pairs"],
            emb_dim=network["embed_dim"],
            rnn_dim=network["rnn_dim"],
            rnn_type=network["rnn_type"].upper(),
            mlp_dim=separator["mlp_dim"],
            overlapping_band=layout != "vocals_v7",
            freq_weights=[
                torch.tensor(
                    band.weights,
                    dtype=torch.float64 if exact else torch.float32,
                )
                for band in bands
            ],
            n_freq=1025,
        ).to(self.device)
        self.facts = {
            "build_seconds": time.perf_counter() - before,
            "multiply_adds": preset_sizes(entry, case["chunk_seconds"])[
                "multiply_adds"
            ],
        }
        self.window = torch.hann_window(2048, device=self.device)
        state = self.model.state_dict()
        arrays = {f"bsrnn.{key}": x.cpu().numpy() for key, x in state.items()}
        np.savez(case["weights"], **arrays)
        mixture, targets = make_audio(case, self.stems, self.sample_rate, 1)
        self.mixture = torch.from_numpy(mixture)
        self.targets = {s: torch.from_numpy(x) for s, x in targets.items()}
        if case["task"] == "training":
            self.prepare_training()
        else:
            self.model.eval()

    def prepare_training(self):
        """Loss, optimizer and clipping of their configurations."""
        from core.loss._timefreq import TimeFreqSignalNoisePNormRatioLoss

        self.loss = TimeFreqSignalNoisePNormRatioLoss(
            tkwargs={"p": 1}, fkwargs={"p": 1}
        )
        self.optimizer = self.torch.optim.Adam(self.model.parameters(), lr=1e-3)

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

    def inference(self, _):
        with self.torch.inference_mode():
            estimates = self.forward(self.mixture.to(self.device))["audio"]
            return {stem: x.cpu().numpy() for stem, x in estimates.items()}

    def training(self, _):
        targets = {s: x.to(self.device) for s, x in self.targets.items()}
        with self.torch.no_grad():
            spectra = {stem: self.stft(x) for stem, x in targets.items()}
        self.optimizer.zero_grad()
        output = self.forward(self.mixture.to(self.device))
        loss = self.loss(output, {"audio": targets, "spectrogram": spectra})
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        return {"loss": loss.item()}

    def separate(self, hop_seconds):
        """Their overlap-add on the whole file."""
        from core.utils.audio import OverlapAddFader

        def model(chunks):
            output = self.forward(chunks.to(self.device))["audio"]
            return {stem: x.cpu() for stem, x in output.items()}

        with self.torch.inference_mode():
            if hop_seconds is None:  # the first call: one chunk
                return model(self.mixture[..., : self.case["chunk_samples"]])
            fader = OverlapAddFader(
                "hann",
                self.case["chunk_seconds"],
                hop_seconds,
                self.sample_rate,
                self.case["reference_batch"],
            )
            estimates = fader(self.mixture, model)["audio"]
            return {stem: x.numpy() for stem, x in estimates.items()}

    def finish(self):
        self.facts["host_peak_bytes"] = self.facts["peak_bytes"] = peak_bytes()
        if self.device == "cuda":
            self.facts |= gpu_facts("torch")
        size = 8192 if self.device == "cuda" else 2048
        matrix = self.torch.randn(size, size, device=self.device)
        self.facts["matmul_rate"] = matmul_rate(
            lambda a, b: (a @ b)[0, 0].item(), matrix, size
        )
        return self.facts


def open_side(case):
    """`Ours` or `Theirs`, ready for requests."""
    subject = {"ours": Ours, "theirs": Theirs}[case["side"]](case)
    rate = getattr(subject, "separator", subject).sample_rate
    case["chunk_samples"] = round(case["chunk_seconds"] * rate)
    return subject


def answer(subject, request):
    """Answers a request, a dict.

    `{"hop": …}` (seconds, or `None`) runs the case once: its seconds, outputs
    go to a file. `{}` asks for the facts, and is the last.
    """
    case = subject.case
    if "hop" not in request:
        return subject.finish()
    run = getattr(subject, case["task"])
    before = time.perf_counter()
    outputs = run(request["hop"])
    answered = {"seconds": time.perf_counter() - before}
    arrays = {
        stem: np.atleast_1d(np.asarray(x, "float32"))
        for stem, x in outputs.items()
    }
    # One item: batches of other sizes have the same first one.
    np.savez(case["outputs"], **{stem: x[:1] for stem, x in arrays.items()})
    if case["task"] == "separate" and request["hop"]:
        answered["snr_db"] = statistics.mean(
            snr_db(x[0], arrays[stem][0]) for stem, x in subject.targets.items()
        )
    return answered


def work():
    """Answers lines of JSON until they end: the case, then requests."""
    # What libraries print would end up between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    subject = open_side(json.loads(sys.stdin.readline()))
    print(json.dumps({}), file=answers)
    for line in sys.stdin:
        print(json.dumps(answer(subject, json.loads(line))), file=answers)


if __name__ == "__main__":
    work()
