"""A program that runs exports and cannot import Keras.

    python outside.py RUNTIME [DIRECTORY WAVEFORM.npy ESTIMATES.npz]...

NumPy and the runtime alone; the transforms are written out once more.
"""

import json
import pathlib
import sys

runtime, *paths = sys.argv[1:]
for name in ("keras", "keras_hub", "keras_bandit", "torch", "jax"):
    sys.modules[name] = None  # an import raises ImportError
if runtime != "saved_model":
    sys.modules["tensorflow"] = None
sys.modules["openvino_telemetry"] = None

import numpy as np  # noqa: E402


def masks_of(folder, about, spectrogram):
    if runtime == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "core.onnx")
        names = [output.name for output in session.get_outputs()]
        results = session.run(names, {"spectrogram": spectrogram})
        return dict(zip(names, results, strict=True))
    import openvino

    names = {"onnx": "core.onnx", "openvino": "core.xml"}
    core = openvino.Core()
    model = core.read_model(folder / names[about["format"]])
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    results = core.compile_model(model, "CPU", options)([spectrogram])
    return {output.any_name: value for output, value in results.items()}


def around_core(folder, about, waveform):
    n_fft, hop = about["stft"]["n_fft"], about["stft"]["hop_length"]
    samples = waveform.shape[-1]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    scale = np.sqrt(np.sum(window**2))
    width = [(0, 0), (0, 0), (n_fft // 2, n_fft // 2)]
    padded = np.pad(waveform, width, mode=about["stft"]["pad_mode"])
    starts = range(0, samples + 1, hop)
    frames = np.stack([padded[..., t : t + n_fft] for t in starts], -2)
    spectrogram = np.fft.rfft(frames * window / scale)
    pairs = np.stack([spectrogram.real, spectrogram.imag], -1)
    estimates = {}
    for name, mask in masks_of(folder, about, pairs.astype("float32")).items():
        masked = spectrogram * (mask[..., 0] + 1j * mask[..., 1])
        frames = np.fft.irfft(masked, n_fft) * window * scale
        total, weight = np.zeros(padded.shape), np.zeros(padded.shape)
        for i, t in enumerate(starts):
            total[..., t : t + n_fft] += frames[..., i, :]
            weight[..., t : t + n_fft] += window**2
        inside = slice(n_fft // 2, n_fft // 2 + samples)
        estimates[name.removeprefix("mask_")] = (
            total[..., inside] / weight[..., inside]
        )
    return estimates


def estimates_of(folder, about, waveform):
    if runtime == "saved_model":
        import tensorflow

        model = tensorflow.saved_model.load(str(folder))
        served = model.serve(waveform)
        return {stem: value.numpy() for stem, value in served.items()}
    if runtime == "litert":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(folder / "separator.tflite"))
        return interpreter.get_signature_runner()(waveform=waveform)
    return around_core(folder, about, waveform)


for folder, source, target in zip(*[iter(paths)] * 3, strict=True):
    folder = pathlib.Path(folder)
    about = json.loads((folder / "separator.json").read_text())
    estimates = estimates_of(folder, about, np.load(source))
    assert sorted(estimates) == sorted(about["stems"])
    np.savez(target, **estimates)
