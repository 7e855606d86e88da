"""The look of a sound of any length: envelope and spectrogram, as a stream."""

import base64
import math
import struct
import zlib

import numpy as np

from keras_bandit.common.numpy_spectral import hann_window

_MOST_COLUMNS = 1600  # twice as many as a page has dots for, at least half
_BATCH = 32  # hops; always as many, so that blocks' sizes change no bit
_HOPS_PER_SECOND = 44  # 1024 samples at 44.1 and 48 kHz
_BANDS = 96
_HIGHEST_HZ = 20_000
_SHADES = 64  # of a spectrogram, more than the eye tells apart
RANGE_DB = 80.0
"""From black to the lightest colour."""

# From silence to the loudest place: black, violet, red, orange, pale yellow.
_COLORS = [(9, 8, 20), (62, 22, 108), (168, 39, 107), (243, 122, 62)]
_COLORS.append((252, 247, 200))


def _mel(hz):
    return 2595 * np.log10(1 + np.asarray(hz) / 700)


class Picture:
    """Gathers the envelope and the spectrogram of a sound.

    There are 800 to 1600 columns, or fewer of a short sound: when they run
    out, two become one. Memory does not grow with the length. A column has the
    lowest and the highest sample of all channels, and the mean power of the
    channels' mean in bands of equal width in mel, which are a bin wide at
    least. The transforms take twice 1/44 s each, as many as a spectrogram that
    overlaps by half.

    Args:
        sample_rate: int, Hz.

    Attributes:
        peak: float. Highest absolute sample.
    """

    def __init__(self, sample_rate):
        self._rate = sample_rate
        self._hop = hop = 2 ** max(
            4, round(math.log2(sample_rate / _HOPS_PER_SECOND))
        )
        window = hann_window(2 * hop)
        self._window = (2 / window.sum()) * window  # a sine has its peak
        self.highest_hz = min(sample_rate / 2, _HIGHEST_HZ)
        mel = np.linspace(0, _mel(self.highest_hz), _BANDS + 1)
        bins = 700 * (10 ** (mel / 2595) - 1) / sample_rate * 2 * hop
        self._edges = np.unique(np.rint(bins).astype(int))
        bands = len(self._edges) - 1
        # Rows: mean of the channels (half a hop early, so that transforms are
        # centred on hops), lowest, highest.
        self._pending = np.zeros((3, hop // 2), "float32")
        self._num_samples = 0
        self._hops, self._hops_per_column = 0, 1
        self._low = np.full(_MOST_COLUMNS, np.inf)
        self._high = np.full(_MOST_COLUMNS, -np.inf)
        self._power = np.zeros((_MOST_COLUMNS, bands))
        self._count = np.zeros(_MOST_COLUMNS)

    def push(self, audio):
        """Takes `(channels, samples)`."""
        self._num_samples += audio.shape[-1]
        self._take([audio.mean(axis=0), audio.min(axis=0), audio.max(axis=0)])

    def _take(self, rows):
        self._pending = np.concatenate([self._pending, rows], axis=-1)
        size = _BATCH * self._hop
        while self._pending.shape[-1] >= size + self._hop:
            self._add(self._pending[:, : size + self._hop])
            self._pending = self._pending[:, size:]

    def _add(self, rows):
        """Adds `_BATCH` hops, or those of them before the sound's end."""
        hop, place = self._hop, np.arange(self._hops, self._hops + _BATCH)
        place = place[place * hop < self._num_samples]
        frames = np.lib.stride_tricks.sliding_window_view(rows[0], 2 * hop)
        power = np.abs(np.fft.rfft(frames[::hop] * self._window)) ** 2
        first, *_, last = self._edges
        power = np.add.reduceat(
            power[:, :last], self._edges[:-1] - first, axis=1
        ) / np.diff(self._edges)
        low, high = rows[1:, hop // 2 : -(hop // 2)].reshape(2, _BATCH, hop)
        self._hops += len(place)
        while self._hops > _MOST_COLUMNS * self._hops_per_column:
            self._halve()
        column = place // self._hops_per_column
        np.minimum.at(self._low, column, low.min(axis=1)[: len(place)])
        np.maximum.at(self._high, column, high.max(axis=1)[: len(place)])
        np.add.at(self._power, column, power[: len(place)])
        np.add.at(self._count, column, 1)

    def _halve(self):
        self._hops_per_column *= 2
        for array, combine, empty in (
            (self._low, np.minimum, np.inf),
            (self._high, np.maximum, -np.inf),
            (self._power, np.add, 0),
            (self._count, np.add, 0),
        ):
            half = _MOST_COLUMNS // 2
            array[:half] = combine(array[::2], array[1::2])
            array[half:] = empty

    def finish(self):
        """Ends the sound; to be called once."""
        silence = np.zeros((3, (_BATCH + 1) * self._hop), "float32")
        silence[1], silence[2] = np.inf, -np.inf  # not in the envelope
        self._take(silence)
        columns = -(-self._num_samples // self._samples_per_column)
        self.low, self.high = self._low[:columns], self._high[:columns]
        count = np.maximum(self._count[:columns, None], 1)
        self._decibels = 10 * np.log10(self._power[:columns] / count + 1e-12)
        self.peak = float(max(-self.low.min(), self.high.max(), 0))

    @property
    def _samples_per_column(self):
        return self._hop * self._hops_per_column

    @property
    def width(self):
        """Columns, the last in part: a float."""
        return self._num_samples / self._samples_per_column

    @property
    def loudest_db(self):
        """The highest level of the spectrogram, dB of full scale."""
        return float(self._decibels.max())

    def height_of(self, hz):
        """Where a frequency lies in the spectrogram, 0 (bottom) to 1."""
        edges = self._edges * self._rate / (2 * self._hop)
        return float(np.interp(hz, edges, np.linspace(0, 1, len(edges))))

    def envelope(self):
        """SVG path of the envelope: a column is 1 wide, full scale 1000 high."""
        top, bottom = (
            np.rint(-1000 * values).astype(int)  # y goes down
            for values in (self.high, self.low[::-1])
        )
        there = "".join(f"v{step}h1" for step in np.diff(top, prepend=0))
        back = "".join(
            f"v{step}h-1" for step in np.diff(bottom, prepend=top[-1])
        )
        return f"M0 0{there}{back}Z"

    def spectrogram(self, loudest_db):
        """PNG, base64: black is 80 dB below `loudest_db`, and less."""
        shade = 1 + (self._decibels - loudest_db) / RANGE_DB
        shade = np.clip(np.rint(shade * (_SHADES - 1)), 0, _SHADES - 1)
        data = _png(shade.astype("uint8").T[::-1], _palette())
        return base64.b64encode(data).decode()


def _palette():
    """`(shades, 3)`, uint8."""
    at = np.linspace(0, len(_COLORS) - 1, _SHADES)
    channels = zip(*_COLORS, strict=True)
    mixed = [np.interp(at, range(len(_COLORS)), c) for c in channels]
    return np.rint(mixed).astype("uint8").T


def gradient():
    """The colours of spectrograms, quietest first, for CSS."""
    return ", ".join(f"rgb{color}" for color in _COLORS)


def _png(shades, palette):
    """Bytes of an image of `(height, width)` indices of a palette."""

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    height, width = shades.shape
    lines = np.pad(shades, ((0, 0), (1, 0)))  # before each: not filtered
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", palette.tobytes())
        + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
        + chunk(b"IEND", b"")
    )
