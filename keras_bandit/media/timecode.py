"""Timecode of frames, with and without dropped numbers (SMPTE ST 12-1)."""

import math
import re
from fractions import Fraction

_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.,])(\d\d)")
_COMMON_RATES = [
    *map(Fraction, (24, 25, 30, 48, 50, 60)),
    *(Fraction(1000 * rate, 1001) for rate in (24, 30, 48, 60)),
]


def near_common(rate):
    """The common frame rate that one is, as containers round it, or `None`."""
    near = min(_COMMON_RATES, key=lambda common: abs(common - rate))
    # Containers round to microseconds, or to a frame of the whole film.
    return near if abs(near - rate) < near / 5000 else None


class FrameClock:
    """Counts frames of a film and names them.

    At 29.97 and 59.94 frames a second, drop-frame timecode leaves out the
    first two or four numbers of each minute but every tenth, so that it keeps
    up with the clock on the wall.

    Args:
        frame_rate: Fraction. Frames a second.
        start: str. Timecode of the first frame; one with ";" drops numbers.

    Attributes:
        drop_frame: bool.

    Raises:
        ValueError: if `start` is no timecode of that rate.

    Example:

    ```python
    from fractions import Fraction

    from keras_bandit.media.timecode import FrameClock

    clock = FrameClock(Fraction(30000, 1001), "01:00:00;00")
    first, last = clock.frames(1, 60.1)
    assert clock.timecode(first) == "01:00:00;29"
    assert clock.timecode(last) == "01:01:00;04"
    ```
    """

    def __init__(self, frame_rate, start="00:00:00:00"):
        self.frame_rate = frame_rate
        self._count = round(frame_rate)  # numbers of a second
        found = _TIMECODE.fullmatch(start)
        if not found or int(found[5]) >= self._count:
            raise ValueError(
                f"start must be a timecode of {float(frame_rate):.6g} frames a "
                f"second, such as 01:00:00:00; got {start!r}"
            )
        hours, minutes, seconds, mark, frames = found.groups()
        minutes = 60 * int(hours) + int(minutes)
        drops = mark != ":" and not self._count % 30
        self.drop_frame = drops and frame_rate != self._count
        self._dropped = self._count // 15 if self.drop_frame else 0
        numbers = (60 * minutes + int(seconds)) * self._count + int(frames)
        self._start = numbers - self._dropped * (minutes - minutes // 10)

    def frames(self, start, end):
        """The frame at a time in seconds, and the first that begins at another.

        Those of an edit that has all sound between; two ints.
        """
        # Milliseconds, not what floats make of them.
        times = (Fraction(round(1000 * t), 1000) for t in (start, end))
        start, end = (time * self.frame_rate for time in times)
        return math.floor(start), math.ceil(end)

    def timecode(self, frame):
        """The timecode of a frame, "01:00:00:00"; a day begins at 0 again."""
        count, dropped = self._count, self._dropped
        in_minute = 60 * count - dropped
        in_ten = 10 * in_minute + dropped  # the first of ten drops none
        tens, rest = divmod((self._start + frame) % (144 * in_ten), in_ten)
        number = 600 * count * tens + rest
        number += dropped * max(0, (rest - dropped) // in_minute)
        seconds, frames = divmod(number, count)
        hours, minutes = seconds // 3600, seconds // 60 % 60
        mark = ";" if self.drop_frame else ":"
        return f"{hours:02}:{minutes:02}:{seconds % 60:02}{mark}{frames:02}"


def clock_of(source):
    """The `FrameClock` of a `Source`, and what had to be assumed, a line.

    25 frames a second where the file tells no rate that timecode knows. The
    start is the film's timecode, or that of `time_reference`, or 0.
    """
    rate, assumed = near_common(source.frame_rate or 0), []
    if rate is None:
        rate = Fraction(25)
        assumed.append("25 frames a second")
    if source.timecode:
        try:
            return FrameClock(rate, source.timecode), ", ".join(assumed)
        except ValueError:
            pass
    clock = FrameClock(rate)
    start = clock.timecode(0)
    if source.time_reference is None:
        assumed.append(f"a start at {start}")
    else:
        seconds = Fraction(source.time_reference, source.sample_rate)
        clock = FrameClock(rate, clock.timecode(round(seconds * rate)))
    return clock, " and ".join(assumed)
