"""Timecode of frames."""

from fractions import Fraction

import pytest

from keras_bandit.media.timecode import FrameClock

pytestmark = pytest.mark.once
NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("rate", "start", "frame", "expected"),
    [
        (Fraction(25), "00:00:00:00", 25 * 3600 + 26, "01:00:01:01"),
        (Fraction(24000, 1001), "01:00:00:00", 24, "01:00:01:00"),
        # SMPTE ST 12-1: numbers 0 and 1 are dropped but every tenth minute.
        (NTSC, "00:00:00;00", 1799, "00:00:59;29"),
        (NTSC, "00:00:00;00", 1800, "00:01:00;02"),
        (NTSC, "00:00:00;00", 17981, "00:09:59;29"),
        (NTSC, "00:00:00;00", 17982, "00:10:00;00"),
        (NTSC, "00:59:59;29", 1, "01:00:00;00"),
        (NTSC, "00:00:59;29", 1, "00:01:00;02"),
        (2 * NTSC, "00:00:00;00", 3600, "00:01:00;04"),
        # Without dropping, numbers go on; 25 frames never drop.
        (NTSC, "00:00:00:00", 1800, "00:01:00:00"),
        (Fraction(25), "00:00:59;24", 1, "00:01:00:00"),
        (Fraction(25), "23:59:59:24", 1, "00:00:00:00"),
    ],
)
def test_timecode(rate, start, frame, expected):
    assert FrameClock(rate, start).timecode(frame) == expected


def test_every_number_of_a_day_comes_once():
    clock = FrameClock(NTSC, "00:00:00;00")
    day = 107_892 * 24
    names = [clock.timecode(frame) for frame in range(0, day, 7)]
    assert len(set(names)) == len(names)
    assert names == sorted(names)
    assert clock.timecode(day) == "00:00:00;00"
    for frame in range(0, day, 9973):
        assert FrameClock(NTSC, clock.timecode(frame)).timecode(0) == (
            clock.timecode(frame)
        )


def test_frames_of_times():
    clock = FrameClock(Fraction(25))
    assert clock.frames(0.1, 0.1) == (2, 3)
    assert clock.frames(0.2, 0.4) == (5, 10)
    # An hour of the clock on the wall is an hour of drop-frame timecode.
    clock = FrameClock(NTSC, "00:00:00;00")
    assert clock.timecode(clock.frames(3600, 3600)[0]) == "01:00:00;00"


@pytest.mark.parametrize("start", ["1:00:00:00", "00:00:00:25", ""])
def test_other_timecodes_are_refused(start):
    with pytest.raises(ValueError, match="start must be a timecode of 25"):
        FrameClock(Fraction(25), start)
