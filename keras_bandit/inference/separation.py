"""Separation of a recording of any length, rate and number of channels."""

import functools
import math

import numpy as np
import soxr

from keras_bandit.common.checks import (
    check_chunk,
    check_seconds,
    check_some,
    check_whole,
)
from keras_bandit.common.loudness import integrated_loudness
from keras_bandit.inference import DEFAULT_BATCH_SIZE, MAX_BATCH_SIZE
from keras_bandit.inference.crossfade import (
    HOPS_PER_CHUNK,
    SHIFT_SECONDS,
    average_shifts,
    chunk_starts,
    crossfade_chunks,
    hann_chunks,
    middle_chunks,
    read_chunk,
    read_padded_chunk,
    triangle_chunks,
)
from keras_bandit.inference.engines import with_engine

# No audio file holds more channels: an array with more is (samples,
# channels), as soundfile reads it.
_MOST_CHANNELS = 1024


def check_audio(audio, sample_rate):
    """Returns a recording as a float32 array, not a copy if it was one.

    Raises:
        ValueError: if the sample rate is not a positive integer; if the
            audio is not `(samples,)` or `(channels, samples)`, not of floats,
            empty, or has NaN or infinity (the first place is given).
    """
    check_whole("sample_rate", sample_rate, 1)
    audio = np.asarray(audio)
    if not np.issubdtype(audio.dtype, np.floating):
        raise ValueError(
            "audio must be floats with full scale at ±1 (divide integer PCM "
            f"by its full scale, 32768 for 16 bits); got dtype {audio.dtype}"
        )
    if audio.ndim not in (1, 2):
        raise ValueError(
            "audio must be (samples,) or (channels, samples); got shape "
            f"{audio.shape}"
        )
    if audio.size == 0:
        raise ValueError(
            f"audio must have at least one sample; got shape {audio.shape}"
        )
    if audio.ndim == 2 and len(audio) > _MOST_CHANNELS:
        raise ValueError(
            "audio must be (channels, samples) with at most "
            f"{_MOST_CHANNELS} channels; got shape {audio.shape}: transpose "
            "an array that is (samples, channels)"
        )
    # Too large for float32 becomes infinity, which the next check reports.
    with np.errstate(over="ignore"):
        audio = audio.astype("float32", copy=False)
    _check_finite(audio, sample_rate)
    return audio


def _check_finite(audio, sample_rate):
    finite = np.isfinite(audio)
    if finite.all():
        return
    finite = np.atleast_2d(finite)
    sample = int(np.argmin(finite.all(axis=0)))
    channel = int(np.argmin(finite[:, sample]))
    raise ValueError(
        "audio must be finite; got "
        f"{np.atleast_2d(audio)[channel, sample]} in channel {channel}, "
        f"sample {sample} ({sample / sample_rate:.3f} s; both counted from "
        f"0), and {finite.size - finite.sum()} such samples in all"
    )


def chunk_and_hop(separator, chunk_seconds=None, hop_seconds=None):
    """Returns the lengths of a chunk and of the hop, in samples.

    Args:
        separator: the model; its `sample_rate`, `chunk_seconds`,
            `min_samples` and `max_samples` are read.
        chunk_seconds: float. Length of a chunk; `None` takes the model's.
        hop_seconds: float. From chunk to chunk; `None` takes
            `chunk_seconds / HOPS_PER_CHUNK[crossfade]` of the model (rounded
            down for Demucs, as its authors do).

    Returns:
        `(chunk, hop)`, two ints.

    Raises:
        ValueError: if either is not positive or longer than a day, the hop
            is longer than the chunk, or the chunk is shorter or longer than
            the model takes.
    """
    if chunk_seconds is None:
        chunk_seconds = separator.chunk_seconds
    check_seconds("chunk_seconds", chunk_seconds)
    crossfade = getattr(separator, "crossfade", "hann")
    as_demucs = hop_seconds is None and crossfade == "triangle"
    if hop_seconds is None:
        hop_seconds = chunk_seconds / HOPS_PER_CHUNK[crossfade]
    check_seconds("hop_seconds", hop_seconds)
    if hop_seconds > chunk_seconds:
        raise ValueError(
            "hop_seconds must be at most chunk_seconds; got "
            f"hop_seconds={hop_seconds}, chunk_seconds={chunk_seconds}"
        )
    sample_rate = separator.sample_rate
    chunk = check_chunk(
        chunk_seconds,
        sample_rate,
        separator.min_samples,
        getattr(separator, "max_samples", None),
    )
    hop = max(round(hop_seconds * sample_rate), 1)
    if as_demucs:
        hop = max(int(chunk / HOPS_PER_CHUNK[crossfade]), 1)
    return chunk, hop


def check_channels(num_channels, model_channels):
    """`ValueError` if a model wants other channels, unless one of them is mono.

    `model_channels` is `None` for a model that takes any number.
    """
    if model_channels not in (None, 1) and num_channels not in (
        1,
        model_channels,
    ):
        raise ValueError(
            f"audio must have {model_channels} channels for this model, or "
            f"1, which is repeated; got {num_channels}"
        )


def resample(audio, sample_rate, new_rate, num_samples=None):
    """Resamples `(channels, samples)` float32 with soxr's best quality, VHQ.

    Linear phase, pass band up to about 0.91 of the lower Nyquist frequency
    and no delay. Equal rates return `audio`. `num_samples` is the length of
    the result, at most a sample or two of the lower rate from `samples *
    new_rate / sample_rate`: zeros are appended or samples dropped at the end.
    `None` takes the nearest length, at least 1.
    """
    if sample_rate == new_rate:
        return audio
    exact_length = audio.shape[-1] * new_rate / sample_rate
    if num_samples is None:
        num_samples = max(round(exact_length), 1)
    slack = max(new_rate / sample_rate, 1) + 1
    assert abs(num_samples - exact_length) <= slack
    resampled = np.zeros((len(audio), num_samples), "float32")
    # Channel by channel: soxr wants (samples, channels) and would copy all.
    for channel, samples in enumerate(audio):
        result = soxr.resample(samples, sample_rate, new_rate, quality="VHQ")
        assert abs(len(result) - exact_length) <= slack
        result = result[:num_samples]
        resampled[channel, : len(result)] = result
    return resampled


def check_adds_up(stems):
    """`ValueError` if there is one stem alone, which would be the mixture."""
    if len(stems) < 2:
        raise ValueError(
            "mixture_consistency needs two stems or more: one alone would be "
            f"the mixture; got {list(stems)}"
        )


def separate(
    separator,
    audio,
    sample_rate,
    chunk_seconds=None,
    hop_seconds=None,
    batch_size=DEFAULT_BATCH_SIZE,
    stems=None,
    progress=False,
    engine="keras",
    precision="float32",
    mixture_consistency=False,
    shifts=0,
    seed=0,
):
    """Separates a recording into its stems.

    The recording is resampled to the model's rate if it has another,
    separated by `crossfade_chunks` and resampled back. If the model separates
    each channel alone, the channels are chunks of their own, and a silent
    channel costs nothing. A model that wants several channels gets mono
    repeated, and its output channels are averaged.

    In memory: the recording, its copy at the model's rate, and two copies
    of one stem beside the others, all float32.

    Args:
        separator: the model, an `AudioSeparator` or `CoreSeparator`.
        audio: `(samples,)` or `(channels, samples)`, array-like of floats,
            full scale ±1.
        sample_rate: int. Rate of `audio`, in Hz.
        chunk_seconds: float. Length of the chunks that the model sees;
            `None` takes the model's, its authors'. A shorter recording is
            extended by reflection (with silence for HTDemucs).
        hop_seconds: float. From chunk to chunk, at most `chunk_seconds`.
            Smaller is smoother and slower. `None` takes half a chunk, two
            thirds for models that keep the middle of each, or Demucs's three
            quarters (`HOPS_PER_CHUNK`); BandIt's authors take 0.5 s.
        batch_size: int. Chunks (of one channel each, if the model separates
            each channel alone) per call of the model, at most
            `MAX_BATCH_SIZE`.
        stems: list of str, the stems to return; `None` for all. Others
            are computed only for `mixture_consistency`. To separate many
            recordings, call `with_stems` once instead: each call of it makes
            a model that has to be compiled again.
        progress: bool or str. True shows a bar with the time left on
            standard error; a str is its label.
        engine: `"keras"`, `"openvino"`, `"onnxruntime"`, or `"auto"`: OpenVINO
            where it is installed, there is no GPU and it can run the model.
            To separate many recordings on another engine than Keras, pass a
            `CoreSeparator` as `separator` instead: here each call makes one.
        precision: `"float32"`, or `"bfloat16"` (OpenVINO only).
        mixture_consistency: bool. Whether the part of the mixture that the
            stems leave is shared out among them, in equal parts, so that they
            add up to the mixture (Wisdom et al. 2019, "Differentiable
            Consistency Constraints for Improved Deep Speech Enhancement",
            arXiv:1811.08521, with equal weights). All stems are computed,
            whichever `stems` names.
        shifts: int. The recording is separated so many times, at random
            offsets of up to `SHIFT_SECONDS`, and estimates are averaged, as
            Demucs's authors do; 0: once, as it is.
        seed: int. Of the offsets.

    Returns:
        dict of each stem's float32 array, shaped like `audio`.

    Raises:
        ValueError: if an argument is not as described, or the model or the
            processor does not allow the engine or precision.
        ImportError: if OpenVINO is asked for and not installed.
        FloatingPointError: if the model returns NaN or infinity.
    """
    audio = check_audio(audio, sample_rate)
    shape, mixture = audio.shape, np.atleast_2d(audio)
    check_channels(len(mixture), separator.num_channels)
    chunk, hop = chunk_and_hop(separator, chunk_seconds, hop_seconds)
    batch_size = check_whole("batch_size", batch_size, 1, MAX_BATCH_SIZE)
    shifts = check_whole("shifts", shifts, 0)
    seed = check_whole("seed", seed, 0)
    separator = with_engine(separator, engine, precision)
    if stems is None:
        stems = separator.stems
    stems = check_some("stems", stems, separator.stems)
    if mixture_consistency:
        check_adds_up(separator.stems)
    elif stems != list(separator.stems):
        separator = separator.with_stems(stems)

    resampled = resample(mixture, sample_rate, separator.sample_rate)
    offset, gain = _level(separator, resampled)
    if (offset, gain) != (0, 1):
        resampled = gain * (resampled - offset)
    items = _to_items(
        resampled,
        separator.num_channels,
        getattr(separator, "linked_channels", False),
    )

    def join(items):
        crossfade = getattr(separator, "crossfade", "hann")
        whole = getattr(separator, "max_samples", None) is not None
        plan, options = hann_chunks, {}
        if crossfade != "hann":
            plan, options = (
                middle_chunks,
                {"min_samples": separator.min_samples},
            )
        if crossfade == "triangle":
            plan = triangle_chunks
            options["power"] = getattr(separator, "transition_power", 1.0)
            options["whole"] = whole
        return crossfade_chunks(
            _predictor(separator, items, chunk, hop, batch_size),
            items,
            list(separator.stems),
            chunk,
            hop,
            batch_size,
            progress,
            separator.silent_in_silent_out,
            functools.partial(plan, **options),
            read_padded_chunk if whole else read_chunk,
        )

    if shifts:
        most = int(SHIFT_SECONDS * separator.sample_rate)
        leads = np.random.default_rng(seed).integers(0, most + 1, shifts)
        estimates = average_shifts(join, items, leads)
    else:
        estimates = join(items)
    separated = {}
    for stem in list(estimates):
        # One at a time, so that only one stem is there at both rates.
        estimate = _from_items(estimates.pop(stem), len(mixture))
        if (offset, gain) != (0, 1):
            estimate = estimate / gain + offset
        separated[stem] = resample(
            estimate, separator.sample_rate, sample_rate, mixture.shape[-1]
        ).reshape(shape)
    if mixture_consistency:
        _share_out_residual(separated, audio)
    return {stem: separated[stem] for stem in stems}


def _level(separator, audio):
    """What is taken from all of a recording, then its factor; undone later.

    For models that want one loudness (MRX) or deviation (Demucs).
    """
    wanted = getattr(separator, "target_lufs", None)
    if wanted is not None:
        # The standard has weights for five channels.
        loudness = integrated_loudness(audio[:5], separator.sample_rate)
        if math.isfinite(loudness):
            return 0, np.float32(10 ** ((wanted - loudness) / 20))
    elif getattr(separator, "standardize_recording", False):
        mono = audio.mean(axis=0, dtype="float64")
        deviation = mono.std(ddof=1) if len(mono) > 1 else 0
        gain = 1 / (deviation + 1e-8)
        return np.float32(mono.mean()), np.float32(gain)
    return 0, 1


def _predictor(separator, items, chunk, hop, batch_size):
    """The function that computes a batch.

    A Keras model has a `predictor`: few batches are quicker uncompiled.
    """
    if not hasattr(separator, "predictor"):
        return separator.predict_on_batch
    chunks = len(chunk_starts(items.shape[-1], chunk, hop)) * len(items)
    return separator.predictor(-(-chunks // batch_size))


def _share_out_residual(separated, audio):
    residual = audio.copy()
    for estimate in separated.values():
        residual -= estimate
    residual /= len(separated)
    for estimate in separated.values():
        estimate += residual


def _to_items(mixture, model_channels, linked):
    """`(channels, samples)` → `(items, channels of the model, samples)`."""
    if linked and model_channels is None:
        return mixture[np.newaxis]
    if model_channels in (None, 1):
        return mixture[:, np.newaxis]
    repeats = model_channels // len(mixture)  # mono is repeated
    return np.repeat(mixture, repeats, axis=0)[np.newaxis]


def _from_items(estimate, num_channels):
    """Undoes `_to_items`; a repeated mono recording is averaged."""
    estimate = estimate.reshape(-1, estimate.shape[-1])
    if len(estimate) == num_channels:
        return estimate
    return estimate.mean(axis=0, keepdims=True)
