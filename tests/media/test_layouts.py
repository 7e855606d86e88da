"""Channel layouts: names, masks and FFmpeg agree."""

import av
import pytest

from keras_bandit.media.layouts import (
    LAYOUTS,
    layout_of,
    mask_of,
    speakers_of,
)

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", LAYOUTS)
def test_names_and_orders_are_ffmpeg_s(name):
    speakers = [channel.name for channel in av.AudioLayout(name).channels]
    assert speakers_of(LAYOUTS[name]) == speakers
    assert mask_of(speakers) == LAYOUTS[name]
    assert layout_of(len(speakers), LAYOUTS[name]) == (name, LAYOUTS[name])


def test_masks_of_microsoft():
    assert LAYOUTS["5.1"] == 0x3F
    assert LAYOUTS["5.1(side)"] == 0x60F
    assert LAYOUTS["7.1"] == 0x63F
    assert LAYOUTS["7.1.4"] == 0x2D63F


def test_layouts_that_are_not_stated():
    assert layout_of(1) == ("mono", LAYOUTS["mono"])
    assert layout_of(2) == ("stereo", LAYOUTS["stereo"])
    assert layout_of(6) == ("unknown", None)
    assert layout_of(6, LAYOUTS["stereo"]) == ("unknown", None)
    assert layout_of(2, 0b101) == ("unknown", 0b101)
    assert layout_of(1, 0b1) == ("mono", 0b1)


def test_other_orders_have_no_mask():
    assert mask_of(["FC", "FL", "FR"]) is None
    assert mask_of(["FL", "FL"]) is None
    assert mask_of(["FL", "NONE"]) is None
