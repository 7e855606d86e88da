"""A separator that runs on OpenVINO instead of a Keras backend."""

import contextlib
import os
import shutil
import tempfile

import numpy as np

from keras_bandit.common.numpy_spectral import istft, stft
from keras_bandit.inference.engines import PRECISIONS
from keras_bandit.inference.openvino_graph import build_graph
from keras_bandit.inference.openvino_network import network_of, read_network
from keras_bandit.inference.openvino_runtime import openvino
from keras_bandit.models.presets import (
    PRESETS,
    means_built_in,
    weights_directory,
)

DEVICE = "CPU"


def check_precision(precision):
    """Raises `ValueError` unless this processor computes in `precision`."""
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {PRECISIONS}; got {precision!r}"
        )
    if precision == "bfloat16" and "BF16" not in _capabilities():
        raise ValueError(
            "precision='bfloat16' needs a processor with AVX512-BF16 or AMX; "
            f"got {openvino.Core().get_property(DEVICE, 'FULL_DEVICE_NAME')}"
        )


def _capabilities():
    return openvino.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")


class OpenVINOSeparator:
    """Stands in for an `AudioSeparator` in `separate`, computed by OpenVINO.

    The network is compiled once for each shape of input, which takes about a
    second; in float32 the estimates are Keras's to about 1e-6 of their peak.
    In bfloat16 the products of recurrences, projections and decoders are
    rounded, as their inputs are: some 44 dB below the estimates.

    The weights are a copy: training the Keras model afterwards does not
    change them. One instance is not for several threads at once: its buffers
    are those of the last call. `with_stems` gives each thread its own, and
    they share the weights.

    Args:
        network: `Network`; see `from_separator` and `from_preset`.
        precision: `"float32"` or `"bfloat16"`.
        cache_dir: directory for compiled networks, made if it does not
            exist, or `None`. A network that is found there is ready in about
            half the time; each takes as much space as its weights.

    Raises:
        ValueError: for another precision, or bfloat16 on a processor without
            it.
    """

    chunk_seconds = 6.0
    silent_in_silent_out = True

    def __init__(self, network, precision="float32", cache_dir=None):
        check_precision(precision)
        self.network = network
        self.precision = precision
        self.cache_dir = cache_dir
        self._requests = {}

    @property
    def min_samples(self):
        return self.network.n_fft

    @classmethod
    def from_separator(cls, separator, precision="float32", cache_dir=None):
        """Makes one of an `AudioSeparator`.

        Raises:
            UnsupportedModelError: if it is not a float32 BandIt or BSRNN.
        """
        return cls(network_of(separator), precision, cache_dir)

    @classmethod
    def from_preset(cls, preset, precision="float32", cache_dir=None):
        """Makes one of a BandIt's preset, without Keras.

        Args:
            preset: path of a preset directory, which goes before a name; or
                the name of a preset with trained weights.
            precision: see above, as `cache_dir`.
            cache_dir: see above.

        Raises:
            ValueError: if there is neither, or the name is that of a preset
                without weights; as the class, too.
            UnsupportedModelError: as `read_network`; Keras may load it.
            OSError: if a file cannot be read.
        """
        return cls(read_network(_preset_folder(preset)), precision, cache_dir)

    @property
    def stems(self):
        """Names of the outputs."""
        return self.network.stems

    @property
    def sample_rate(self):
        """Sampling rate the bands were made for, Hz."""
        return self.network.sample_rate

    @property
    def hop_length(self):
        """Samples between frames of the STFT."""
        return self.network.hop_length

    @property
    def num_channels(self):
        """Channels of the input; `None`: any number, each on its own."""
        return self.network.num_channels

    def with_stems(self, stems):
        """A separator that computes these stems only, sharing the weights."""
        network = self.network.with_stems(stems)
        return type(self)(network, self.precision, self.cache_dir)

    def predict_on_batch(self, waveform):
        """Separates a batch.

        Args:
            waveform: `(batch, channels, samples)` float32 at `sample_rate`.

        Returns:
            `{stem: (batch, channels, samples)}` float32.

        Raises:
            ValueError: for other axes or channels, or too few samples for
                reflection.
        """
        waveform = np.asarray(waveform, "float32")
        self._check_shape(waveform.shape)
        network = self.network
        n_fft, hop = network.n_fft, network.hop_length
        spectrogram = stft(waveform, n_fft, hop, network.pad_mode)
        items = spectrogram
        if network.num_channels is None:
            items = items.reshape(-1, 1, *items.shape[2:])
        request = self._request(items.shape)
        request.infer([items.view("float32")])
        estimates = {}
        for stem in self.stems:
            mask = request.get_tensor(stem).data.view("complex64")
            estimates[stem] = istft(
                spectrogram * mask.reshape(spectrogram.shape),
                n_fft,
                hop,
                waveform.shape[-1],
            )
        return estimates

    def _check_shape(self, shape):
        channels = self.num_channels
        if len(shape) != 3 or 0 in shape or channels not in (None, shape[1]):
            raise ValueError(
                f"waveform must be (batch, {channels or 'channels'}, samples) "
                f"with no axis empty; got shape {shape}"
            )

    def _request(self, shape):
        """The compiled network for spectrograms of a shape."""
        if shape not in self._requests:
            graph = build_graph(self.network, *shape[:3], self.precision)
            options = {
                # Said aloud: the default is bfloat16 where it is fast. What
                # is bfloat16 in the graph stays so.
                "INFERENCE_PRECISION_HINT": "f32",
                "PERFORMANCE_HINT": "LATENCY",
            }
            compiled = _compile(graph, options, self.cache_dir)
            self._requests[shape] = compiled.create_infer_request()
        return self._requests[shape]


def _preset_folder(preset):
    built_in = means_built_in(os.fspath(preset))
    if os.path.isdir(preset) and not built_in:
        return preset
    with_weights = [n for n in PRESETS if weights_directory(n) is not None]
    if preset not in with_weights:
        raise ValueError(
            "preset must be a preset directory or a name with trained weights, "
            f"one of {with_weights}; got {str(preset)!r}"
        )
    return weights_directory(preset)


def _compile(graph, options, cache_dir):
    core = openvino.Core()
    if cache_dir is None:
        return core.compile_model(graph, DEVICE, options)
    with _staged(os.path.abspath(cache_dir)) as staging:
        options = {**options, "CACHE_DIR": staging}
        return core.compile_model(graph, DEVICE, options)


@contextlib.contextmanager
def _staged(cache_dir):
    """A directory with the cache's files, whose new files join the cache.

    OpenVINO writes a compiled network under its final name. Written here
    and then renamed, a half-written one is never seen.
    """
    os.makedirs(cache_dir, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".") as staging:
        former = {n for n in os.listdir(cache_dir) if n.endswith(".blob")}
        for name in former:
            link = os.path.join(staging, name)
            source = os.path.join(cache_dir, name)
            with contextlib.suppress(FileNotFoundError):
                try:
                    os.link(source, link)
                except OSError:  # a filesystem without hard links
                    shutil.copyfile(source, link)
        yield staging
        for name in set(os.listdir(staging)) - former:
            source = os.path.join(staging, name)
            os.replace(source, os.path.join(cache_dir, name))
