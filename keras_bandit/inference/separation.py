"""Separation of a recording of any length, rate and number of channels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from keras_bandit.common.checks import (
    check_chunk,
    check_seconds,
    check_some,
    check_whole,
)
from keras_bandit.common.loudness import LoudnessMeter, level_gain
from keras_bandit.inference import DEFAULT_BATCH_SIZE, MAX_BATCH_SIZE
from keras_bandit.inference.crossfade import (
    HOPS_PER_CHUNK,
    SHIFT_SECONDS,
    Crossfade,
    HannChunks,
    MiddleChunks,
    ShiftAverage,
    TriangleChunks,
)
from keras_bandit.inference.engines import with_engine
from keras_bandit.inference.resampler import Resampler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from keras_bandit.inference.core_separator import CoreSeparator
    from keras_bandit.models.separator import AudioSeparator


# No audio file holds more channels: an array with more is (samples,
# channels), as soundfile reads it.
_MOST_CHANNELS = 1024

BLOCK = 2**15
"""Samples per channel that are read, resampled and written at a time."""


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
    check_finite(ArraySource(np.atleast_2d(audio), sample_rate))
    return audio


class ArraySource:
    """A recording in memory, as `separate_blocks` reads one.

    Args:
        audio: `(channels, samples)` float32.
        sample_rate: int.

    Attributes:
        sample_rate, num_channels: int.
        duration_seconds: float. For the progress bar.
    """

    def __init__(self, audio, sample_rate):
        self.audio, self.sample_rate = audio, sample_rate
        self.num_channels, self._num_samples = audio.shape
        self.duration_seconds = self._num_samples / sample_rate

    def blocks(self):
        """Yields the recording from its beginning, block by block.

        `(channels, samples)` float32 each, with one sample or more.
        """
        for start in range(0, self._num_samples, BLOCK):
            yield self.audio[:, start : start + BLOCK]


def check_finite(source):
    """`ValueError` if a recording has NaN or infinity: the first, how many."""
    position = count = 0
    for block in source.blocks():
        finite = np.isfinite(block)
        if not finite.all():
            if not count:
                sample = int(np.argmin(finite.all(axis=0)))
                channel = int(np.argmin(finite[:, sample]))
                value, place = block[channel, sample], position + sample
            count += finite.size - finite.sum()
        position += block.shape[-1]
    if count:
        raise ValueError(
            f"audio must be finite; got {value} in channel {channel}, sample "
            f"{place} ({place / source.sample_rate:.3f} s; both counted from "
            f"0), and {count} such samples in all"
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
    most = getattr(separator, "max_samples", None)
    chunk = check_chunk(chunk_seconds, sample_rate, separator.min_samples, most)
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


def check_adds_up(stems):
    """`ValueError` if there is one stem alone, which would be the mixture."""
    if len(stems) < 2:
        raise ValueError(
            "mixture_consistency needs two stems or more: one alone would be "
            f"the mixture; got {list(stems)}"
        )


def separate(
    separator: AudioSeparator | CoreSeparator,
    audio: Any,
    sample_rate: int,
    chunk_seconds: float | None = None,
    hop_seconds: float | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    stems: Sequence[str] | None = None,
    progress: bool | str | Callable = False,
    engine: str = "keras",
    precision: str = "float32",
    mixture_consistency: bool = False,
    shifts: int = 0,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Separates a recording into its stems.

    The recording is resampled to the model's rate if it has another,
    separated chunk by chunk and resampled back. If the model separates
    each channel alone, the channels are chunks of their own, and a silent
    channel costs nothing. A model that wants several channels gets mono
    repeated, and its output channels are averaged.

    In memory: the recording and its stems, float32. `separate_blocks` holds a
    few chunks alone.

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
        progress: bool, str or function. True shows a bar with the time left on
            standard error; a str is its label. A function is called with the
            seconds of sound that are done, and those in all or `None`.
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
    mixture = np.atleast_2d(audio)
    separator = with_engine(separator, engine, precision)
    blocks = separate_blocks(
        separator,
        ArraySource(mixture, sample_rate),
        chunk_seconds,
        hop_seconds,
        batch_size,
        stems,
        progress,
        mixture_consistency,
        shifts,
        seed,
    )
    separated, start = {}, 0
    for _, block in blocks:
        for stem, estimate in block.items():
            if stem not in separated:
                separated[stem] = np.empty(mixture.shape, "float32")
            stop = start + estimate.shape[-1]
            separated[stem][:, start:stop] = estimate
        start = stop
    return {stem: x.reshape(audio.shape) for stem, x in separated.items()}


def separate_blocks(
    separator,
    source,
    chunk_seconds=None,
    hop_seconds=None,
    batch_size=DEFAULT_BATCH_SIZE,
    stems=None,
    progress=False,
    mixture_consistency=False,
    shifts=0,
    seed=0,
    job=None,
):
    """Separates a recording as a stream: blocks in, blocks out.

    What is in memory does not grow with the recording. Models that want one
    loudness, level or deviation of the whole recording read it twice.

    Args:
        separator: as `separate`, on the engine that computes.
        source: `ArraySource` or one like it, such as a `keras_bandit.media`
            `Source`.
        job: `Job` that keeps what is finished, or `None`.
        **: see `separate`.

    Yields:
        `(mixture, {stem: estimate})`, `(channels, samples)` each: the next
        samples of the recording, at its own rate. There are as many as the
        source has.

    Raises:
        ValueError, FloatingPointError: as `separate`. What arguments tell is
            checked at the call.
    """
    check_channels(source.num_channels, separator.num_channels)
    chunk, hop = chunk_and_hop(separator, chunk_seconds, hop_seconds)
    batch_size = check_whole("batch_size", batch_size, 1, MAX_BATCH_SIZE)
    shifts = check_whole("shifts", shifts, 0)
    seed = check_whole("seed", seed, 0)
    if stems is None:
        stems = separator.stems
    stems = check_some("stems", stems, separator.stems)
    if mixture_consistency:
        check_adds_up(separator.stems)
    elif stems != list(separator.stems):
        separator = separator.with_stems(stems)
    predict = _predictor(separator, source, hop, batch_size)

    def crossfade():
        made = Crossfade(
            predict,
            separator.stems,
            _plan(separator, chunk, hop),
            batch_size,
            separator.silent_in_silent_out,
            getattr(separator, "batches_ahead", 0),
        )
        return job.keep(made) if job else made

    if shifts:
        most = int(SHIFT_SECONDS * separator.sample_rate)
        leads = np.random.default_rng(seed).integers(0, most + 1, shifts)
        stream = ShiftAverage(crossfade, leads.tolist())
    else:
        stream = crossfade()
    blocks = _with_progress(
        _separate(separator, source, stream), source, progress
    )
    return _chosen(blocks, stems, mixture_consistency)


def _plan(separator, chunk, hop):
    """Which chunks a model wants, and how they are joined."""
    crossfade = getattr(separator, "crossfade", "hann")
    if crossfade == "hann":
        return HannChunks(chunk, hop)
    if crossfade == "middle":
        return MiddleChunks(chunk, hop, separator.min_samples)
    power = getattr(separator, "transition_power", 1.0)
    whole = getattr(separator, "max_samples", None) is not None
    return TriangleChunks(chunk, hop, separator.min_samples, power, whole)


def _separate(separator, source, stream):
    """Yields the mixture and all stems of the separator, block by block."""
    there = separator.sample_rate
    offset, gain = _level(separator, source)
    up = Resampler(source.sample_rate, there)
    down = {
        stem: Resampler(there, source.sample_rate) for stem in separator.stems
    }
    mixture = np.zeros((source.num_channels, 0), "float32")  # not yet yielded
    num_samples = 0

    def items(audio):
        if (offset, gain) != (0, 1):
            audio = gain * (audio - offset)
        return _to_items(
            audio,
            separator.num_channels,
            getattr(separator, "linked_channels", False),
        )

    def level(estimate):
        estimate = _from_items(estimate, source.num_channels)
        if (offset, gain) != (0, 1):
            estimate = estimate / gain + offset
        return estimate

    def blocks():
        yield from source.blocks()
        yield None

    for block in blocks():
        if block is None:
            parts = [stream.push(items(up.finish())), stream.finish()]
        else:
            mixture = np.concatenate([mixture, block], axis=-1)
            num_samples += block.shape[-1]
            parts = [stream.push(items(up.push(block)))]
        estimates = {}
        for stem, resampler in down.items():
            ready = [resampler.push(level(part[stem])) for part in parts]
            if block is None:
                ready.append(resampler.finish(num_samples))
            estimates[stem] = np.concatenate(ready, axis=-1)
        size = estimates[stem].shape[-1]
        if size:
            yield mixture[:, :size], estimates
            mixture = mixture[:, size:]


def _with_progress(blocks, source, progress):
    """The blocks, with a bar in seconds of sound as they are asked for."""
    rate = source.sample_rate
    seconds = source.duration_seconds
    if callable(progress):
        done = 0
        for mixture, estimates in blocks:
            done += mixture.shape[-1] / rate
            progress(done, seconds)
            yield mixture, estimates
        return
    with tqdm(
        total=seconds,
        desc=progress if isinstance(progress, str) else None,
        unit="s",
        disable=not progress,
        dynamic_ncols=True,
        bar_format=None if seconds is None else _BAR,
    ) as bar:
        for mixture, estimates in blocks:
            bar.update(mixture.shape[-1] / rate)
            yield mixture, estimates


_BAR = (
    "{l_bar}{bar}| {n:.1f} of {total:.1f} s, {remaining} left, {rate_noinv_fmt}"
)


def _chosen(blocks, stems, mixture_consistency):
    """The blocks with `stems` alone, which are made to add up if asked to."""
    for mixture, estimates in blocks:
        if mixture_consistency:
            residual = mixture.copy()
            for estimate in estimates.values():
                residual -= estimate
            residual /= len(estimates)
            estimates = {s: x + residual for s, x in estimates.items()}
        yield mixture, {stem: estimates[stem] for stem in stems}


def _level(separator, source):
    """What is taken from all of a recording, then its factor; undone later.

    For models that want one loudness (MRX), RMS, peak or deviation (Demucs).
    """
    wanted = getattr(separator, "target_lufs", None)
    level = getattr(separator, "normalize_recording", None)
    standardize = getattr(separator, "standardize_recording", False)
    if wanted is None and level is None and not standardize:
        return 0, 1

    def resampled():
        up = Resampler(source.sample_rate, separator.sample_rate)
        for block in source.blocks():
            yield up.push(block)
        yield up.finish()

    if wanted is not None:
        meter = LoudnessMeter(separator.sample_rate)
        for audio in resampled():
            meter.push(audio[:5])  # the standard weights five channels
        loudness = meter.loudness()
        if math.isfinite(loudness):
            return 0, np.float32(10 ** ((wanted - loudness) / 20))
        return 0, 1
    if level is not None:
        return 0, np.float32(level_gain(resampled(), level))
    count = total = squares = 0
    for audio in resampled():
        mono = audio.mean(axis=0, dtype="float64")
        count, total = count + len(mono), total + mono.sum()
        squares += mono @ mono
    variance = max(squares - total**2 / count, 0) / max(count - 1, 1)
    gain = 1 / (math.sqrt(variance) + 1e-8)
    return np.float32(total / count), np.float32(gain)


def _predictor(separator, source, hop, batch_size):
    """The function that computes a batch.

    A Keras model has a `predictor`: few batches are quicker uncompiled.
    """
    if not hasattr(separator, "predictor") or not source.duration_seconds:
        return separator.predict_on_batch
    samples = source.duration_seconds * separator.sample_rate
    chunks = 1 + math.ceil(samples / hop)
    return separator.predictor(-(-chunks * source.num_channels // batch_size))


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
    items, channels, num_samples = estimate.shape
    estimate = estimate.reshape(items * channels, num_samples)
    if len(estimate) == num_channels:
        return estimate
    return estimate.mean(axis=0, keepdims=True)
