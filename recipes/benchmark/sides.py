"""What is timed, in a process of its own: this package, the authors' code.

The backend is a property of a process, and so is peak memory.
"""

import contextlib
import multiprocessing
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

from keras_bandit.data.film_clip import film_clip
from keras_bandit.inference.engines import choose_engine, with_engine
from keras_bandit.models.presets import PRESETS

# Losses that each model is trained with.
LOSS = "L1SNR"
LOSSES = {
    "OpenUnmixAudioSeparator": "MagnitudeMSE",
    "HybridDemucsAudioSeparator": "L1",
    "MRXAudioSeparator": "NegativeSISNR",
}


class CaseError(Exception):
    """Why one case could not be measured; the others go on."""


def environment(backend, device):
    """Variables of a process; no cache hides compilation."""
    variables = {
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


class Side:
    """The process of one side of a case; `ask` waits for its answer.

    Raises `CaseError` if the process fails, which `log` explains, or takes
    longer than `limit_minutes`.
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

    def ask(self, method="time", *arguments):
        """Calls a method of the side; the first call waits until it is built.

        `time(hop_seconds)` runs the case once, of a whole file without a hop
        its first chunk alone; `facts()` is what is known of the process.
        """
        with contextlib.suppress(BrokenPipeError):  # its log says why
            self.connection.send((method, arguments))
        if not self.connection.poll(self.limit):
            raise CaseError(f"no answer after {self.limit:g} s")
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            lines = self.log.read_text(errors="replace").splitlines()
            said = [line for line in lines if line.strip()] or ["no output"]
            raise CaseError(f"{said[-1]} (see {self.log})") from None

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()


def serve(connection, case, side, log):
    """The process of a side: answers requests until it is ended."""
    os.setsid()  # Ctrl-C ends the case, which kills this group
    os.environ.update(environment(case["backend"], case["device"]))
    with open(log, "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    subject = make_subject(case, side)
    while True:
        method, arguments = connection.recv()
        connection.send(getattr(subject, method)(*arguments))


def make_subject(case, side):
    """What a side times: a class of this file, of `authors` or `pipeline`."""
    if side == "pipeline":
        from pipeline import Pipeline

        return Pipeline(case)
    if side == "theirs":
        from authors import AUTHORS

        return AUTHORS[PRESETS[case["preset"]].model](case)
    return {"ours": Ours, "command": Command}[side](case)


def timed(function):
    """What a function returns, and the seconds it takes."""
    before = time.perf_counter()
    found = function()
    return found, time.perf_counter() - before


def peak_bytes(who):
    """The largest resident size of this process or of those that it ran."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss * unit


def forget_peak():
    """What it took to draw and to convert weights is not the model's memory."""
    with contextlib.suppress(OSError):  # of Linux alone
        Path("/proc/self/clear_refs").write_text("5")


def snr_db(target, estimate):
    """Target over error in dB, infinite if they are equal."""
    target, estimate = np.float64(target), np.float64(estimate)
    error = np.sum((target - estimate) ** 2)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.sum(target**2) / error))


def make_audio(case, stems, sample_rate, channels):
    """Mixture and stems, `(batch, channels, samples)`, alike on both sides.

    Items are one clip, rolled. Stems of other names than the clip's get one
    of its stems each.
    """
    whole_file = case["task"] == "separate"
    seconds = case["file_seconds" if whole_file else "chunk_seconds"]
    clip = film_clip(max(seconds, 1), sample_rate, channels)
    samples = round(seconds * sample_rate)
    items = [
        {name: np.roll(x, 997 * i, -1)[:, :samples] for name, x in clip.items()}
        for i in range(case["batch"])
    ]
    batch = {name: np.stack([x[name] for x in items]) for name in clip}
    names = list(clip)
    targets = {
        stem: batch[stem if stem in clip else names[i % len(names)]]
        for i, stem in enumerate(stems)
    }
    return sum(batch.values()), targets


def gpu_facts(backend):
    """Name of the GPU and the most memory held there."""
    if backend == "torch":
        from torch import cuda

        if cuda.is_available():
            peak = cuda.max_memory_allocated()
            return {"device_name": cuda.get_device_name(), "peak_bytes": peak}
    elif backend == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "gpu":
            peak = device.memory_stats()["peak_bytes_in_use"]
            return {"device_name": device.device_kind, "peak_bytes": peak}
    else:
        from tensorflow import config

        for device in config.list_physical_devices("GPU")[:1]:
            name = config.experimental.get_device_details(device)
            peak = config.experimental.get_memory_info("GPU:0")["peak"]
            return {
                "device_name": name.get("device_name", device.name),
                "peak_bytes": peak,
            }
    raise RuntimeError(f"--device gpu: {backend} finds no GPU")


class Command:
    """`keras-bandit` as a user runs it, from start to end."""

    def __init__(self, case):
        self.command = [sys.executable, "-m", "keras_bandit", case["command"]]
        self.limit = 54 * case["limit_minutes"]  # before that of the side
        if case["command"] != "separate":
            return
        clip = sum(film_clip(10).values())[0]
        clip = np.resize(clip, round(case["seconds_of_audio"] * 44100))
        path = Path(case["scratch"], "clip.wav")
        soundfile.write(path, clip, 44100, "PCM_16")
        options = {
            "preset": case["preset"],
            "engine": case["engine"],
            "output": path.with_name("separated"),
        }
        if case["engine"] == "keras":
            options["backend"] = case["backend"]
        if case["task"] == "memory":  # the fewest chunks
            options["hop-seconds"] = case["chunk_seconds"]
        self.command += [str(path), "--overwrite"]
        self.command += [f"--{k}={value}" for k, value in options.items()]

    def time(self):
        run = subprocess.run
        done, seconds = timed(lambda: run(self.command, timeout=self.limit))
        if done.returncode < 0:
            sys.exit("killed: out of memory?")
        if done.returncode:
            sys.exit(done.returncode)  # its last line says why
        return {"seconds": seconds}

    def facts(self):
        return {"peak_bytes": peak_bytes(resource.RUSAGE_CHILDREN)}


class Model:
    """What both sides have in common."""

    def time(self, hop_seconds=None):
        """Runs the task once.

        Returns:
            `seconds`; `outputs`, `{stem: array}` of the first item; and, of a
            whole file, `snr_db` of the estimates against the true stems.
        """
        run = getattr(self, self.case["task"])
        outputs, seconds = timed(lambda: run(hop_seconds))
        outputs = {
            stem: np.atleast_1d(np.asarray(x, "float32"))[:1]
            for stem, x in outputs.items()
        }
        found = {"seconds": seconds, "outputs": outputs}
        if hop_seconds:
            found["snr_db"] = statistics.mean(
                snr_db(x[0], outputs[stem][0])
                for stem, x in self.targets.items()
            )
        return found

    def facts(self):
        """Time to build, and peak memory."""
        facts = {"build_seconds": self.build_seconds}
        facts["peak_bytes"] = peak_bytes(resource.RUSAGE_SELF)
        if self.case["device"] == "gpu":
            facts |= gpu_facts(self.backend)
        return facts


class Ours(Model):
    """A separator of this package on the backend of this process."""

    def __init__(self, case):
        engine, precision = case["engine"], case["precision"]
        if engine != "keras":
            # What cannot run is refused before anything is built.
            choose_engine(engine, precision)
        import keras

        from keras_bandit.backend.process import (
            tune_process,
            without_tensorflow,
        )

        with without_tensorflow():  # as the command line
            from keras_bandit import losses
            from keras_bandit.models import AudioSeparator
            from keras_bandit.training import paper_optimizer

        self.case, self.backend = case, keras.config.backend()
        dtype = "float32"
        if engine == "keras":
            dtype = {"float32": "float32"}.get(precision, f"mixed_{precision}")
        # Initial weights are the same on every backend.
        keras.utils.set_random_seed(0)
        self.separator, self.build_seconds = timed(
            lambda: AudioSeparator.from_preset(case["preset"], dtype=dtype)
        )
        self.sample_rate = self.separator.sample_rate
        if case["reference"]:
            self.take_weights(case["weights"])
        forget_peak()
        if engine == "keras":
            # As the command line and training runs do; later, for it keeps
            # freed memory, and converted weights are freed by now.
            tune_process()
        channels = self.separator.num_channels or 1
        self.mixture, self.targets = make_audio(
            case, self.separator.stems, self.sample_rate, channels
        )
        if case["task"] == "training":
            # Both sides without: they would draw different numbers.
            for layer in self.separator._flatten_layers():
                if isinstance(layer, keras.layers.Dropout):
                    layer.rate = 0.0
            loss = losses.get(LOSSES.get(type(self.separator).__name__, LOSS))
            self.separator.compile(paper_optimizer(), loss=loss)
        if engine != "keras":
            self.separator, seconds = timed(
                lambda: with_engine(self.separator, engine, precision)
            )
            self.build_seconds += seconds

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
            batch_size=2,
        )
        return {stem: x[np.newaxis] for stem, x in estimates.items()}

    def facts(self):
        """Also multiply-adds, if known, and their best rate here."""
        facts = {**super().facts(), "matmul_rate": self.matmul_rate()}
        if self.case["preset"] in PRESETS:
            sizes = PRESETS[self.case["preset"]].sizes
            seconds = self.case["chunk_seconds"]
            facts["multiply_adds"] = sizes(seconds).multiply_adds
        return facts

    def matmul_rate(self):
        """Multiply-adds per second of a matrix product, best of a second."""
        from keras import ops

        size = self.case["matmul_size"]
        matrix = np.random.default_rng(0).standard_normal((size, size))
        matrix = ops.cast(ops.convert_to_tensor(matrix), self.case["precision"])

        def product():
            # NumPy does not take TensorFlow's scalars in bfloat16.
            element = ops.cast(ops.matmul(matrix, matrix)[0, 0], "float32")
            return ops.convert_to_numpy(element)  # waits

        product()
        times, end = [], time.perf_counter() + 1.0
        while not times or time.perf_counter() < end:
            times.append(timed(product)[1])
        return size**3 / min(times)
