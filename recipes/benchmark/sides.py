"""What is timed, in a process of its own: this package, the authors' code.

The backend is a property of a process, and so is peak memory.
"""

import contextlib
import multiprocessing
import os
import resource
import signal
import statistics
import sys
import time
import types
from pathlib import Path

import numpy as np

from keras_bandit.bands import band_layout
from keras_bandit.data.film_clip import film_clip
from keras_bandit.inference.engines import choose_engine, with_engine
from keras_bandit.models.presets import PRESETS

DTYPES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


class CaseError(Exception):
    """Why one case could not be measured; the others go on."""


def environment(backend, device):
    """Variables of a process; no cache hides compilation."""
    variables = {
        **os.environ,
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Memory in use, not memory reserved.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    if device == "cpu":
        variables |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    return variables


def last_line(path):
    """Last line that a process logged: with Python, the exception."""
    lines = path.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "no output")


class Side:
    """The process of one side of a case; `ask` waits for its answer.

    Args:
        case: dict. What to time, and how.
        side: str, of `SIDES`.
        log: path. Takes what the process prints.

    Raises:
        CaseError: here and in `ask`, if it fails or takes longer than
            `limit_minutes`.
    """

    def __init__(self, case, side, log):
        self.log, self.limit = log, 60 * case["limit_minutes"]
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(
            target=serve, args=(other, case, side, log), daemon=True
        )
        self.process.start()
        other.close()
        try:
            self._receive()
        except BaseException:
            self.close()
            raise

    def ask(self, hop=None, method="time"):
        """Runs the case once, or another method of the side.

        Args:
            hop: float. Seconds between chunks of a whole file; `None`: of its
                first chunk alone.
            method: str. `"facts"`, the last request, says what is known of
                the process.

        Returns:
            what the method returns.
        """
        with contextlib.suppress(BrokenPipeError):  # its log says why
            self.connection.send((method, hop))
        return self._receive()

    def _receive(self):
        if not self.connection.poll(self.limit):
            raise CaseError(f"no answer after {self.limit:g} s")
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            reason = last_line(self.log)
            raise CaseError(f"{reason} (see {self.log})") from None

    def close(self):
        self.connection.close()  # idle, it ends by itself
        self.process.join(5)
        self.process.kill()
        self.process.join()


def serve(connection, case, side, log):
    """The process of a side: answers requests until they end."""
    # Ctrl-C ends the case, which kills this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment(case["backend"], case["device"]))
    with open(log, "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    subject = make_subject(case, side)
    connection.send({})
    with contextlib.suppress(EOFError):
        while True:
            method, hop = connection.recv()
            run = getattr(subject, method)
            connection.send(run(hop) if method == "time" else run())


def make_subject(case, side):
    """`Ours`, `Theirs` or `Pipeline`, ready to be timed."""
    if side == "pipeline":
        from pipeline import Pipeline

        return Pipeline(case)
    return {"ours": Ours, "theirs": Theirs}[side](case)


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
    whole_file = case["task"] == "separate"
    seconds = case["file_seconds" if whole_file else "chunk_seconds"]
    clip = film_clip(max(seconds, 1), sample_rate, channels)
    samples = round(seconds * sample_rate)
    batch = {
        name: np.stack(
            [np.roll(x, i * 997, -1)[:, :samples] for i in range(case["batch"])]
        )
        for name, x in clip.items()
    }
    names = list(clip)
    targets = {
        stem: batch[stem if stem in clip else names[i % len(names)]]
        for i, stem in enumerate(stems)
    }
    return sum(batch.values()), targets


def gpu_facts(backend):
    """Name of the GPU and the most memory held there.

    Raises:
        RuntimeError: if the backend sees none.
    """
    name = None
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            name = torch.cuda.get_device_name()
            peak = torch.cuda.max_memory_allocated()
    elif backend == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "gpu":
            name = device.device_kind
            peak = device.memory_stats()["peak_bytes_in_use"]
    else:
        from tensorflow import config

        for device in config.list_physical_devices("GPU")[:1]:
            details = config.experimental.get_device_details(device)
            name = details.get("device_name", device.name)
            peak = config.experimental.get_memory_info("GPU:0")["peak"]
    if name is None:
        raise RuntimeError(f"--device gpu: {backend} finds no GPU")
    return {"device_name": name, "peak_bytes": peak}


class Model:
    """What both sides have in common.

    Args:
        case: dict, see CONFIG of `__main__` and what `plan` adds.
        backend: str.
    """

    def __init__(self, case, backend):
        self.case, self.backend = case, backend
        self.times = {}

    @contextlib.contextmanager
    def building(self):
        before = time.perf_counter()
        yield
        elapsed = time.perf_counter() - before
        self.times["build_seconds"] = (
            self.times.get("build_seconds", 0) + elapsed
        )

    def time(self, hop):
        """Runs the task once.

        Returns:
            `seconds`; `outputs`, `{stem: array}` of the first item; and, of a
            whole file, `snr_db` of the estimates against the true stems.
        """
        run = getattr(self, self.case["task"])
        before = time.perf_counter()
        outputs = run(hop)
        found = {"seconds": time.perf_counter() - before}
        found["outputs"] = {
            stem: np.atleast_1d(np.asarray(x, "float32"))[:1]
            for stem, x in outputs.items()
        }
        if self.case["task"] == "separate" and hop:
            found["snr_db"] = statistics.mean(
                snr_db(x[0], found["outputs"][stem][0])
                for stem, x in self.targets.items()
            )
        return found

    def facts(self):
        """Times, peak memory, multiply-adds if known, and their best rate."""
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        facts = {**self.times, "peak_bytes": peak}
        if self.case["preset"] in PRESETS:
            sizes = PRESETS[self.case["preset"]].sizes
            seconds = self.case["chunk_seconds"]
            facts["multiply_adds"] = sizes(seconds).multiply_adds
        if self.case["device"] == "gpu":
            facts |= gpu_facts(self.backend)
        return {**facts, "matmul_rate": self.matmul_rate()}

    def matmul_rate(self):
        """Multiply-adds per second of a matrix product, best of a second."""
        size = self.case["matmul_size"]
        product = self.product(
            np.random.default_rng(0).standard_normal((size, size), "float32")
        )
        product()
        times, end = [], time.perf_counter() + 1.0
        while not times or time.perf_counter() < end:
            before = time.perf_counter()
            product()
            times.append(time.perf_counter() - before)
        return size**3 / min(times)


class Ours(Model):
    """A separator of this package on the backend of this process."""

    def __init__(self, case):
        engine, precision = case["engine"], case["precision"]
        if engine != "keras":
            # What cannot run is refused before anything is built.
            choose_engine(engine, precision)
        import keras

        from keras_bandit.backend.process import tune_process
        from keras_bandit.models import AudioSeparator

        super().__init__(case, keras.config.backend())
        if engine == "keras":  # as the command line and training runs do
            tune_process()
        # Initial weights are the same on every backend.
        keras.utils.set_random_seed(0)
        dtype = DTYPES[precision if engine == "keras" else "float32"]
        with self.building():
            self.separator = AudioSeparator.from_preset(
                case["preset"], dtype=dtype
            )
        self.sample_rate = self.separator.sample_rate
        if case["reference"]:
            self.take_weights(case["weights"])
        self.mixture, self.targets = make_audio(
            case,
            self.separator.stems,
            self.sample_rate,
            self.separator.num_channels or 1,
        )
        if case["task"] == "training":
            from keras_bandit.losses import L1SNR
            from keras_bandit.training import paper_optimizer

            self.separator.compile(paper_optimizer(), loss=L1SNR())
        if engine != "keras":
            with self.building():
                self.separator = with_engine(self.separator, engine, precision)

    def take_weights(self, path):
        """Takes the weights of the authors' side."""
        from keras_bandit.convert import from_checkpoint

        with np.load(path) as arrays:
            theirs = from_checkpoint(dict(arrays), self.sample_rate)
        self.separator.set_weights(theirs.get_weights())

    def inference(self, _):
        return self.separator.predict_on_batch(self.mixture)

    def training(self, _):
        loss = self.separator.train_on_batch(self.mixture, self.targets)
        return {"loss": loss}

    def separate(self, hop_seconds):
        from keras_bandit.inference import separate

        audio, chunk_seconds = self.mixture[0], self.case["chunk_seconds"]
        if hop_seconds is None:  # the first call: one batch of one chunk
            hop_seconds = chunk_seconds
            audio = audio[:, : round(chunk_seconds * self.sample_rate)]
        estimates = separate(
            self.separator,
            audio,
            self.sample_rate,
            chunk_seconds=chunk_seconds,
            hop_seconds=hop_seconds,
            batch_size=self.case["file_batch"],
        )
        return {stem: x[np.newaxis] for stem, x in estimates.items()}

    def product(self, matrix):
        """A function that multiplies the matrix with itself, and waits."""
        from keras import ops

        matrix = ops.cast(ops.convert_to_tensor(matrix), self.case["precision"])

        def product():
            # NumPy does not take TensorFlow's scalars in bfloat16.
            element = ops.cast(ops.matmul(matrix, matrix)[0, 0], "float32")
            return ops.convert_to_numpy(element)

        return product


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


class Theirs(Model):
    """The authors' modules with our bands, in float32, as they run them."""

    def __init__(self, case):
        import torch

        super().__init__(case, "torch")
        import_reference(case["reference"])
        from core.model.bsrnn.core import MultiSourceMultiMaskBandSplitCoreRNN

        torch.set_float32_matmul_precision(case["reference_matmul"])
        torch.manual_seed(0)
        self.torch = torch
        self.device = "cuda" if case["device"] == "gpu" else "cpu"
        preset = PRESETS[case["preset"]]
        network, separator = preset.backbone, preset.separator
        layout, stems = network["band_layout"], preset.stems
        self.sample_rate = preset.sample_rate
        self.pad_mode = separator.get("pad_mode", "constant")
        bands = band_layout(
            layout, network["num_bands"], 2048, self.sample_rate
        )
        # These two make their weights in float64, and multiply in it.
        exact = layout in ("musical", "bark")
        dtype = torch.float64 if exact else torch.float32
        with self.building():
            self.model = MultiSourceMultiMaskBandSplitCoreRNN(
                in_channel=1,
                stems=stems,
                band_specs=[(band.start, band.stop) for band in bands],
                n_sqm_modules=network["num_pairs"],
                emb_dim=network["embed_dim"],
                rnn_dim=network["rnn_dim"],
                rnn_type=network["rnn_type"].upper(),
                mlp_dim=separator["mlp_dim"],
                overlapping_band=layout != "vocals_v7",
                freq_weights=[
                    torch.tensor(b.weights, dtype=dtype) for b in bands
                ],
                n_freq=1025,
            ).to(self.device)
        self.window = torch.hann_window(2048, device=self.device)
        state = self.model.state_dict()
        arrays = {f"bsrnn.{key}": x.cpu().numpy() for key, x in state.items()}
        np.savez(case["weights"], **arrays)
        mixture, targets = make_audio(case, stems, self.sample_rate, 1)
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

        chunk_seconds = self.case["chunk_seconds"]

        def model(chunks):
            output = self.forward(chunks.to(self.device))["audio"]
            return {stem: x.cpu() for stem, x in output.items()}

        with self.torch.inference_mode():
            if hop_seconds is None:  # the first call: one chunk
                samples = round(chunk_seconds * self.sample_rate)
                return model(self.mixture[..., :samples])
            fader = OverlapAddFader(
                "hann",
                chunk_seconds,
                hop_seconds,
                self.sample_rate,
                self.case["reference_batch"],
            )
            estimates = fader(self.mixture, model)["audio"]
            return {stem: x.numpy() for stem, x in estimates.items()}

    def product(self, matrix):
        """As `Ours.product`."""
        matrix = self.torch.from_numpy(matrix).to(self.device)
        return lambda: (matrix @ matrix)[0, 0].item()
