"""Crossfade: a recording in chunks through a model and back together."""

import numpy as np
from tqdm import tqdm

# Where chunks do not overlap (hop = chunk) the Hann window's first sample,
# zero, would be the only weight there: 0 / 0.
_WINDOW_FLOOR = 1e-12


def crossfade_window(chunk_length, hop):
    """Window `(chunk_length,)` whose copies at every multiple of `hop` sum to 1.

    A periodic Hann window divided by the sum of its shifted copies. Where
    `hop` divides `chunk_length` into an even number of parts, this is the
    authors' window, Hann / (chunk / (2 hop)); with `hop = chunk_length` it is
    all ones.
    """
    samples = np.arange(chunk_length)
    hann = np.sin(np.pi * samples / chunk_length) ** 2
    window = np.maximum(hann, _WINDOW_FLOOR)
    # Inside the recording sample n lies under the copies' samples
    # n mod hop, n mod hop + hop, ...: the sum has period hop.
    phase = samples % hop
    total = np.bincount(phase, weights=window, minlength=hop)
    return (window / total[phase]).astype("float32")


def chunk_starts(num_samples, chunk_length, hop):
    """First samples of the chunks that touch a recording, a range of int.

    Multiples of `hop`, negative ones too, so that each sample lies under as
    many chunks as any other. These are the authors' positions: their front
    padding, 2 (chunk - hop), is a multiple of the hop whenever the hop
    divides the chunk. Chunks that lie in the padding alone are left out.
    """
    first = hop - -(-chunk_length // hop) * hop
    return range(first, num_samples, hop)


def read_chunk(audio, start, chunk_length):
    """One chunk of `(channels, samples)`, reflected at the recording's ends.

    The reflection bounces as often as a short recording needs, as
    `np.pad(mode="reflect")` does; a single sample repeats. A chunk that lies
    inside is a view.
    """
    num_samples = audio.shape[-1]
    stop = start + chunk_length
    if start >= 0 and stop <= num_samples:
        return audio[:, start:stop]
    # Reflected samples repeat every 2 (N - 1): 0 1 2 3 2 1 | 0 1 2 3 2 1 ...
    period = max(2 * (num_samples - 1), 1)
    position = np.arange(start, stop) % period
    return audio[:, np.minimum(position, period - position)]


def read_padded_chunk(audio, start, chunk_length):
    """As `read_chunk`, but with silence beyond the recording's ends."""
    stop = start + chunk_length
    outside = (max(-start, 0), max(stop - audio.shape[-1], 0))
    return np.pad(audio[:, max(start, 0) : stop], [(0, 0), outside])


def predict_chunks(predict, chunks, batch_size, skip_silence=False):
    """Runs chunks through a model, in batches of one shape.

    Args:
        predict: see `crossfade_chunks`.
        chunks: iterable of `(place, chunk)`: anything that tells chunks
            apart, and `(channels, chunk_length)` float32.
        batch_size: int. Chunks per call.
        skip_silence: see `crossfade_chunks`.

    Yields:
        `(place, {stem: estimate})`, estimates shaped like the chunk, in the
        order of the chunks. Skipped chunks are left out.
    """
    batch, places = None, []  # one batch, reused

    def flush():
        batch[len(places) :] = 0.0
        predicted = predict(batch)
        estimates = {stem: np.asarray(x) for stem, x in predicted.items()}
        for row, place in enumerate(places):
            yield place, {stem: x[row] for stem, x in estimates.items()}
        places.clear()

    for place, chunk in chunks:
        if skip_silence and not chunk.any():
            continue
        if batch is None:
            batch = np.zeros((batch_size, *chunk.shape), "float32")
        batch[len(places)] = chunk
        places.append(place)
        if len(places) == batch_size:
            yield from flush()
    if places:
        yield from flush()


HOPS_PER_CHUNK = {"hann": 2.0, "middle": 1.5, "triangle": 4 / 3}
"""How a model's chunks are joined, and hops in a chunk if none is given.

`"hann"`: `hann_chunks`. Two is the fewest with a full crossfade
everywhere; BandIt's authors take 12 (a hop of 0.5 s): six times the work, and
a little better. `"middle"`: `middle_chunks`; the sixth of a chunk at either end
is context alone. `"triangle"`: `triangle_chunks`, Demucs's.
"""


def hann_chunks(num_samples, chunk_length, hop):
    """Which chunks `crossfade_chunks` takes, crossfaded by Hann windows.

    The authors' `OverlapAddFader` (`core/utils/audio.py` of
    `karnwatcharasupat/bandit` at 735a57c: reflected edges, Hann window,
    chunks at multiples of the hop), without the chunks that touch nothing but
    padding and without its lower limit on the length.

    Args:
        num_samples: int. Samples of the recording.
        chunk_length: int. Samples of a chunk.
        hop: int. Samples from chunk to chunk, 1 to `chunk_length`.

    Returns:
        lists of `(start, length, weights)`, one length in each list; weights,
        `(length,)` float32, add up to 1 at every sample of the recording.
    """
    window = crossfade_window(chunk_length, hop)
    starts = chunk_starts(num_samples, chunk_length, hop)
    return [[(start, chunk_length, window) for start in starts]]


def middle_weights(length, chunk_length, hop, first, last):
    """Weights of a chunk whose ends are context: 1 in the middle, then 0.

    ```
    chunk 0   1111111\\0000
    chunk 1       0000//1111\\0000      hop 8, chunk 14
    ```

    Args:
        length: int. Samples of this chunk; the last one may be shorter.
        chunk_length: int. Samples of the others.
        hop: int. From chunk to chunk.
        first, last: bool. Whether the recording begins or ends with it.

    Returns:
        `(length,)` float32. Chunks add up to 1 everywhere.
    """
    overlap = chunk_length - hop
    ramp = max(overlap // 8, 1)  # a step would be heard as a click
    seam = max(overlap - ramp, 0) // 2

    def rise(sample):
        return np.clip((sample - seam) / ramp, 0, 1)

    samples = np.arange(length)
    weights = np.ones(length) if first else rise(samples + 1)
    if not last:
        weights = weights - rise(samples + 1 - hop)
    return weights.astype("float32")


def middle_chunks(num_samples, chunk_length, hop, min_samples=1):
    """As `hann_chunks`, but keeps the middle of each chunk.

    For models that are made to see whole recordings: chunks begin at the
    recording's first sample, and one that fits in a chunk is seen whole. The
    other chunks differ from that by what the model knows of far away. The last
    chunk has its own length, extended by reflection to `min_samples`.
    """
    count = 1 + max(-(-(num_samples - chunk_length) // hop), 0)
    chunks = []
    for i in range(count):
        last = i == count - 1
        length = chunk_length
        if last:
            length = max(num_samples - i * hop, min_samples)
        weights = middle_weights(length, chunk_length, hop, i == 0, last)
        chunks.append((i * hop, length, weights))
    return [chunks[:-1], chunks[-1:]]


def triangle_chunks(
    num_samples, chunk_length, hop, min_samples=1, power=1.0, whole=False
):
    """As `hann_chunks`, but under triangular weights.

    `apply_model` of `facebookresearch/demucs` (e976d93): chunks begin at the
    recording's first sample, the last one is as short as it is (extended by
    reflection to `min_samples`), and weighted estimates are divided by the sum
    of weights. `power` is the triangle's exponent; higher is a shorter
    crossfade. If `whole`, short chunks are extended to `chunk_length`, as much
    on either side.
    """
    half = chunk_length // 2
    rising = np.arange(1, half + 1)
    falling = np.arange(chunk_length - half, 0, -1)
    triangle = np.concatenate([rising, falling]) / (chunk_length - half)
    triangle = triangle**power
    starts = range(0, num_samples, hop)
    total = np.zeros(num_samples)
    for start in starts:
        part = triangle[: num_samples - start]
        total[start : start + len(part)] += part
    groups = {}  # chunks of each length; the last ones are short
    for start in starts:
        length = min(chunk_length, num_samples - start)
        weights = triangle[:length] / total[start : start + length]
        size = chunk_length if whole else max(length, min_samples)
        before = (size - length) // 2 if whole else 0
        weights = np.pad(weights, (before, size - length - before))
        chunk = (start - before, size, weights.astype("float32"))
        groups.setdefault(size, []).append(chunk)
    return list(groups.values())


def crossfade_chunks(
    predict,
    items,
    stems,
    chunk_length,
    hop,
    batch_size,
    progress=False,
    skip_silence=False,
    plan=hann_chunks,
    read_chunk=read_chunk,
):
    """Separates recordings chunk by chunk and crossfades the estimates.

    If `predict` returns its input for each stem, the recording comes back
    for every `hop <= chunk_length`.

    Args:
        predict: callable. Takes `(batch_size, channels, chunk_length)`
            float32 and returns a dict of each stem's array of that shape.
            If all chunks have one length it is always called with this one
            shape; the last batch is filled up with zeros.
        items: `(items, channels, samples)` float32. Items are separated
            independently of one another, the channels of one together.
        stems: list of str. The keys of what `predict` returns.
        chunk_length: int. Samples of a chunk.
        hop: int. Samples from chunk to chunk, 1 to `chunk_length`.
        batch_size: int. Chunks per call.
        progress: bool or str. True shows a bar with the time left on
            standard error; a str is its label.
        skip_silence: bool. Whether exactly silent chunks are not computed,
            for models that separate silence into silence.
        plan: function of the recording's samples, `chunk_length` and `hop` to
            chunks and their weights: `hann_chunks` or one like it.
        read_chunk: function that reads one, `read_chunk` or
            `read_padded_chunk`.

    Returns:
        dict of each stem's `(items, channels, samples)` float32.

    Raises:
        FloatingPointError: if the model returns NaN or infinity.
    """
    groups = plan(items.shape[-1], chunk_length, hop)
    estimates = {stem: np.zeros(items.shape, "float32") for stem in stems}
    bar = tqdm(
        total=sum(map(len, groups)) * len(items),
        desc=progress if isinstance(progress, str) else None,
        unit="chunk",
        disable=not progress,
        dynamic_ncols=True,
    )

    def read(group):
        for start, length, weights in group:
            for item, audio in enumerate(items):
                chunk = read_chunk(audio, start, length)
                yield (item, start, weights), chunk
                bar.update()

    with bar:
        for group in groups:
            # A group of its own length is compiled anyway: fill no batch up.
            size = batch_size
            if len(groups) > 1:
                size = min(batch_size, len(group) * len(items)) or 1
            for (item, start, weights), outputs in predict_chunks(
                predict, read(group), size, skip_silence
            ):
                for stem in stems:
                    if not np.isfinite(outputs[stem]).all():
                        raise FloatingPointError(
                            f"the model's estimate of {stem} is not finite in "
                            "the chunk that starts at sample "
                            f"{max(start, 0)}"
                        )
                    estimate = estimates[stem][item]
                    _add_chunk(estimate, outputs[stem], start, weights)
    return estimates


SHIFT_SECONDS = 0.5
"""The most that `average_shifts` moves a recording, as Demucs's authors do."""


def average_shifts(join, items, leads):
    """Averages estimates of a recording that begins later each time.

    A model that strides over samples is not quite the same at each offset.

    Args:
        join: function of items to estimates, as `crossfade_chunks`.
        items: `(items, channels, samples)` float32.
        leads: list of int, samples of silence before each.

    Returns:
        dict of each stem's `(items, channels, samples)` float32.
    """
    total = {}
    for lead in leads:
        padded = np.pad(items, [(0, 0), (0, 0), (lead, 0)])
        for stem, estimate in join(padded).items():
            part = estimate[..., lead:] / np.float32(len(leads))
            total[stem] = total.get(stem, 0) + part
    return total


def _add_chunk(estimate, output, start, window):
    """Adds the part of a chunk that lies inside `(channels, samples)`."""
    begin = max(start, 0)
    end = min(start + len(window), estimate.shape[-1])
    inside = slice(begin - start, end - start)
    estimate[:, begin:end] += output[:, inside] * window[inside]
