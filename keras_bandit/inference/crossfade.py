"""Crossfade: a stream of sound in chunks through a model and back together."""

import collections
import dataclasses

import numpy as np

# Where chunks do not overlap (hop = chunk) the Hann window's first sample,
# zero, would be the only weight there: 0 / 0.
_WINDOW_FLOOR = 1e-12

HOPS_PER_CHUNK = {"hann": 2.0, "middle": 1.5, "triangle": 4 / 3}
"""How a model's chunks are joined, and hops in a chunk if none is given.

`"hann"`: `HannChunks`. Two is the fewest with a full crossfade
everywhere; BandIt's authors take 12 (a hop of 0.5 s): six times the work, and
a little better. `"middle"`: `MiddleChunks`; the sixth of a chunk at either end
is context alone. `"triangle"`: `TriangleChunks`, Demucs's.
"""


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


class HannChunks:
    """Which chunks `Crossfade` takes, crossfaded by Hann windows.

    The authors' `OverlapAddFader` (`core/utils/audio.py` of
    `karnwatcharasupat/bandit` at 735a57c: reflected edges, Hann window,
    chunks at multiples of the hop), without the chunks that touch nothing but
    padding and without its lower limit on the length. Chunks begin at negative
    multiples of the hop too, so that each sample lies under as many chunks as
    any other.

    With a hop above half a chunk, where most samples lie under one chunk
    anyway, the first chunk begins at the recording's first sample and the last
    is the one that reaches its end: a recording that fits in a chunk is
    computed once.

    Args:
        chunk_length: int. Samples of a chunk.
        hop: int. Samples from chunk to chunk, 1 to `chunk_length`.

    Call arguments:
        index: int, from 0.
        num_samples: int. Samples of the recording, or `None` while it is only
            known to go beyond this chunk.

    Returns:
        The chunk's first sample and its weights, one for each of its samples,
        float32; or `None` if the recording has no such chunk. Weights of all
        chunks add up to 1 at every sample of the recording.
    """

    # A model is always called with full batches: it is compiled once.
    one_length = True

    # What chunks see beyond the recording's ends is it reflected, or silence.
    reflects = True

    def __init__(self, chunk_length, hop):
        self.chunk_length, self.hop = chunk_length, hop
        self.first = hop - -(-chunk_length // hop) * hop
        self.overlap = chunk_length - hop
        self.window = crossfade_window(chunk_length, hop)
        if self.overlap < hop:
            self.first = 0

    def __call__(self, index, num_samples):
        start, weights = self.first + index * self.hop, self.window
        if self.overlap >= self.hop:  # two chunks or more over every sample
            ended = num_samples is not None and start >= num_samples
            return None if ended else (start, weights)
        if index == 0:
            weights = weights.copy()
            weights[: self.overlap] = 1
        if num_samples is not None:
            if index and start + self.overlap >= num_samples:
                return None  # the one before was the last
            if start + self.chunk_length >= num_samples:
                weights = weights.copy()
                weights[self.hop :] = 1
        return start, weights


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


class MiddleChunks:
    """As `HannChunks`, but keeps the middle of each chunk.

    For models that are made to see whole recordings: chunks begin at the
    recording's first sample, and one that fits in a chunk is seen whole. The
    other chunks differ from that by what the model knows of far away. The last
    chunk has its own length, extended by reflection to `min_samples`.
    """

    one_length = False
    reflects = True

    def __init__(self, chunk_length, hop, min_samples=1):
        self.chunk_length, self.hop = chunk_length, hop
        self.min_samples = min_samples

    def __call__(self, index, num_samples):
        start, length, last = index * self.hop, self.chunk_length, False
        if num_samples is not None:
            if index and start - self.hop + length >= num_samples:
                return None  # the one before was the last
            last = start + length >= num_samples
            if last:
                length = max(num_samples - start, self.min_samples)
        return start, middle_weights(
            length, self.chunk_length, self.hop, index == 0, last
        )


class TriangleChunks:
    """As `HannChunks`, but under triangular weights.

    `apply_model` of `facebookresearch/demucs` (e976d93): chunks begin at the
    recording's first sample, the last one is as short as it is (extended by
    reflection to `min_samples`), and weighted estimates are divided by the sum
    of weights. `power` is the triangle's exponent; higher is a shorter
    crossfade. If `whole`, short chunks are extended to `chunk_length`, as much
    on either side, by the recording and by silence beyond its ends.
    """

    def __init__(
        self, chunk_length, hop, min_samples=1, power=1.0, whole=False
    ):
        self.one_length, self.reflects = whole, not whole
        half = chunk_length // 2
        rising = np.arange(1, half + 1)
        falling = np.arange(chunk_length - half, 0, -1)
        triangle = np.concatenate([rising, falling]) / (chunk_length - half)
        self.triangle = triangle**power
        self.chunk_length, self.hop = chunk_length, hop
        self.min_samples = min_samples
        self._weights = {}

    def _full_weights(self, earlier):
        """Of a chunk that overlaps with so many before it."""
        if earlier not in self._weights:
            total = self.triangle.copy()
            for shift in range(self.hop, len(total), self.hop):
                total[shift:] += self.triangle[:-shift]
                if shift <= earlier * self.hop:
                    total[:-shift] += self.triangle[shift:]
            weights = self.triangle / total
            self._weights[earlier] = weights.astype("float32")
        return self._weights[earlier]

    def __call__(self, index, num_samples):
        start = index * self.hop
        if num_samples is not None and start >= num_samples:
            return None
        weights = self._full_weights(min(index, len(self.triangle) // self.hop))
        if num_samples is not None:
            weights = weights[: num_samples - start]
            size = self.min_samples if self.reflects else self.chunk_length
            missing = max(size - len(weights), 0)
            before = 0 if self.reflects else missing // 2
            weights = np.pad(weights, (before, missing - before))
            start -= before
        return start, weights


@dataclasses.dataclass
class _Batch:
    """Chunks that `predict` was given."""

    rows: list  # (item, start, weights)
    answer: object  # what `predict` returned
    rest: int | None = None  # `Crossfade._rest` once it is added


class Crossfade:
    """Separates recordings chunk by chunk and crossfades the estimates.

    A stream: sound is given block by block, and what is finished is returned.
    In memory are the last chunk's samples, a batch, and the estimates that
    chunks to come will add to. If `predict` returns its input for each stem,
    the recording comes back, for every `hop <= chunk_length`.

    Args:
        predict: callable. Takes `(batch, channels, samples)` float32 and
            returns a dict of each stem's array of that shape. If all chunks
            have one length it is always called with batches of `batch_size`;
            the last one is filled up with zeros.
        stems: list of str. The keys of what `predict` returns.
        plan: `HannChunks` or one like it.
        batch_size: int. Chunks per call.
        skip_silence: bool. Whether exactly silent chunks are not computed,
            for models that separate silence into silence.
        batches_ahead: int. If above 0, `predict` computes elsewhere and
            returns at once an object whose `result()` waits for the dict. So
            many batches are under way beside the one that is waited for. They
            are added in their order: estimates are the same to the bit.

    Attributes:
        on_rest: function without arguments that is called when `state` may be
            asked for, after some chunk or other; or `None`.
    """

    def __init__(
        self,
        predict,
        stems,
        plan,
        batch_size,
        skip_silence=False,
        batches_ahead=0,
    ):
        self._predict, self.stems, self._plan = predict, list(stems), plan
        self._batch_size, self._skip_silence = batch_size, skip_silence
        self._batches_ahead = batches_ahead
        self.on_rest = None
        self._num_samples = None  # while more may come
        self._audio = None  # from sample `_first` on
        self._first = 0
        self._index = 0  # of the next chunk
        self._rows = []  # (item, start, weights, chunk), not yet computed
        self._under_way = collections.deque()  # `_Batch`, the oldest first
        self._rest = 0  # chunks before this one are all added, none after it
        self._lengths = set()  # of chunks that filled a batch
        self._estimates = None  # {stem: from sample `_finished` on}
        self._finished = 0

    def push(self, items):
        """Takes `(items, channels, samples)` float32, any number of samples.

        Items are separated independently of one another, the channels of one
        together.

        Returns:
            dict of each stem's `(items, channels, samples)` float32: what
            follows on what was returned before, perhaps no samples.

        Raises:
            FloatingPointError: if the model returns NaN or infinity.
        """
        if self._audio is None:
            self._audio = items[..., :0]
            if self._estimates is None:
                nothing = np.zeros_like(items[..., :0], "float32")
                self._estimates = {stem: nothing for stem in self.stems}
        self._audio = np.concatenate([self._audio, items], axis=-1)
        return self._advance()

    def finish(self):
        """After the last `push`: what is left; as `push`."""
        self._num_samples = self._first + self._audio.shape[-1]
        return self._advance()

    def state(self):
        """What `restore` takes, a dict of arrays."""
        return {
            "index": self._rest,
            "finished": self._finished,
            "lengths": sorted(self._lengths),
            "estimates": np.stack([self._estimates[s] for s in self.stems]),
        }

    def restore(self, state):
        """Goes on from a `state`, before the first `push`.

        The recording is pushed from its beginning; what had been returned is
        neither computed nor returned again.
        """
        self._index = self._rest = int(state["index"])
        self._finished = int(state["finished"])
        self._lengths = set(state["lengths"].tolist())
        estimates = state["estimates"]
        self._estimates = dict(zip(self.stems, estimates, strict=True))

    def _advance(self):
        available = self._first + self._audio.shape[-1]
        while True:
            chunk = self._plan(self._index, self._num_samples)
            if chunk is None:
                start = self._num_samples
                break
            start, weights = chunk
            # One sample more tells that the recording goes on.
            if self._num_samples is None and (
                max(start + len(weights), -start) >= available
            ):
                break
            self._take(start, weights)
            self._index += 1
            if self._rows:
                continue
            if self._under_way:
                self._under_way[-1].rest = self._index
            else:
                self._come_to_rest(self._index)
        if self._num_samples is not None:
            self._flush()
            self._add_batches(ahead=0)
        # The end is reflected: its last chunk needs as much before it.
        kept = min(start, available - self._plan.chunk_length)
        cut = max(kept - self._first, 0)
        self._audio, self._first = self._audio[..., cut:], self._first + cut
        if self._under_way:
            start = self._under_way[0].rows[0][1]
        elif self._rows:
            start = self._rows[0][1]
        # After `restore` more may be finished than was pushed again.
        return self._cut(max(min(start, available), self._finished))

    def _come_to_rest(self, index):
        self._rest = index
        if self.on_rest:
            self.on_rest()

    def _take(self, start, weights):
        chunks = self._read(start, len(weights))
        for item, chunk in enumerate(chunks):
            if not self._skip_silence or chunk.any():
                if self._rows and self._rows[0][3].shape != chunk.shape:
                    self._flush()
                self._rows.append((item, start, weights, chunk))
                if len(self._rows) == self._batch_size:
                    self._flush()

    def _read(self, start, length):
        """`(items, channels, length)`, reflected at the recording's ends.

        Or with silence there, as the plan says. The reflection bounces as often as a short recording needs, as
        `np.pad(mode="reflect")` does; a single sample repeats. Chunks that lie
        inside are views.
        """
        stop = start + length
        if start >= 0 and stop <= (self._num_samples or stop):
            return self._audio[..., start - self._first : stop - self._first]
        if not self._plan.reflects:
            end = min(stop, self._num_samples)
            outside = [(0, 0), (0, 0), (max(-start, 0), stop - end)]
            first = max(start, 0) - self._first
            return np.pad(self._audio[..., first : end - self._first], outside)
        position = np.abs(np.arange(start, stop))
        if self._num_samples is not None:
            # Repeats every 2 (N - 1): 0 1 2 3 2 1 | 0 1 2 3 2 1 ...
            period = max(2 * (self._num_samples - 1), 1)
            position %= period
            position = np.minimum(position, period - position)
        return self._audio[..., position - self._first]

    def _flush(self):
        """Has the rows computed, a batch, and adds what is computed."""
        if not self._rows:
            return
        chunk = self._rows[0][3]
        size, length = len(self._rows), chunk.shape[-1]
        # A batch of its own length is compiled anyway: it is not filled up.
        if self._plan.one_length or length in self._lengths:
            size = self._batch_size
        if size == self._batch_size:
            self._lengths.add(length)
        batch = np.zeros((size, *chunk.shape), "float32")
        for row, (*_, chunk) in zip(batch, self._rows, strict=False):
            row[:] = chunk
        rows = [row[:3] for row in self._rows]
        self._rows.clear()
        self._under_way.append(_Batch(rows, self._predict(batch)))
        self._add_batches(self._batches_ahead)

    def _add_batches(self, ahead):
        """Adds batches to the estimates until `ahead` are under way."""
        while len(self._under_way) > ahead:
            batch = self._under_way.popleft()
            answer = batch.answer
            if hasattr(answer, "result"):
                answer = answer.result()
            outputs = {stem: np.asarray(x) for stem, x in answer.items()}
            for row, (item, start, weights) in enumerate(batch.rows):
                for stem in self.stems:
                    output = outputs[stem][row]
                    if not np.isfinite(output).all():
                        raise FloatingPointError(
                            f"the model's estimate of {stem} is not finite in "
                            f"the chunk that starts at sample {max(start, 0)}"
                        )
                    self._add(stem, item, start, weights, output)
            if batch.rest is not None:
                self._come_to_rest(batch.rest)

    def _lengthen(self, stop):
        """Makes room for estimates up to the sample `stop`."""
        missing = stop - self._finished
        missing -= self._estimates[self.stems[0]].shape[-1]
        if missing > 0:
            for stem, estimate in self._estimates.items():
                zeros = np.zeros((*estimate.shape[:-1], missing), "float32")
                self._estimates[stem] = np.concatenate([estimate, zeros], -1)

    def _add(self, stem, item, start, weights, output):
        """Adds the part of a chunk that lies inside the recording."""
        begin, end = max(start, self._finished), start + len(weights)
        if self._num_samples is not None:
            end = min(end, self._num_samples)
        self._lengthen(end)
        inside = slice(begin - start, end - start)
        here = slice(begin - self._finished, end - self._finished)
        estimate = self._estimates[stem][item]
        estimate[:, here] += output[:, inside] * weights[inside]

    def _cut(self, stop):
        """Estimates up to the sample `stop`, which are kept no longer."""
        self._lengthen(stop)
        size, self._finished = stop - self._finished, stop
        done = {stem: x[..., :size] for stem, x in self._estimates.items()}
        self._estimates = {
            stem: x[..., size:] for stem, x in self._estimates.items()
        }
        return done


SHIFT_SECONDS = 0.5
"""The most that `ShiftAverage` moves a recording, as Demucs's authors do."""


class ShiftAverage:
    """Averages estimates of a recording that begins later each time.

    A model that strides over samples is not quite the same at each offset.
    Used like a `Crossfade`.

    Args:
        make: function that returns a `Crossfade`.
        leads: list of int, samples of silence before each.
    """

    def __init__(self, make, leads):
        self._crossfades = [make() for _ in leads]
        self._leads = list(leads)
        self._begun = False
        self._kept = [{} for _ in leads]  # estimates that others lack yet

    def push(self, items):
        """See `Crossfade.push`."""
        for i, crossfade in enumerate(self._crossfades):
            lead = 0 if self._begun else self._leads[i]
            padded = np.pad(items, [(0, 0), (0, 0), (lead, 0)])
            self._keep(i, crossfade.push(padded))
        self._begun = True
        return self._average()

    def finish(self):
        """See `Crossfade.finish`."""
        for i, crossfade in enumerate(self._crossfades):
            self._keep(i, crossfade.finish())
        return self._average()

    def _keep(self, i, estimates):
        size = next(iter(estimates.values())).shape[-1]
        cut = min(self._leads[i], size)
        self._leads[i] -= cut
        for stem, estimate in estimates.items():
            former = self._kept[i].get(stem, estimate[..., :0])
            joined = np.concatenate([former, estimate[..., cut:]], axis=-1)
            self._kept[i][stem] = joined

    def _average(self):
        stems, count = list(self._kept[0]), np.float32(len(self._kept))
        size = min(kept[stems[0]].shape[-1] for kept in self._kept)
        done = {
            stem: sum(kept[stem][..., :size] / count for kept in self._kept)
            for stem in stems
        }
        for kept in self._kept:
            kept.update({stem: x[..., size:] for stem, x in kept.items()})
        return done
