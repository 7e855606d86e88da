"""docs/diagrams is what `recipes/diagrams.py` writes, and models.md is true."""

import dataclasses
import re
from xml.etree import ElementTree

import diagrams
import pytest

from keras_bandit.models.presets import PRESETS

pytestmark = pytest.mark.once

PAGE = (diagrams.FOLDER.parent / "models.md").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_pictures_are_what_the_command_writes(name):
    path = diagrams.FOLDER / f"{name}.svg"
    assert path.read_text(encoding="utf-8") == diagrams.picture(name)


def test_the_page_shows_every_picture_and_no_other():
    shown = re.findall(r"\]\(diagrams/(\w+)\.svg\)", PAGE)
    files = {path.stem for path in diagrams.FOLDER.glob("*.svg")}
    assert set(shown) == files == set(diagrams.DIAGRAMS)


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_text_stays_in_its_box(name):
    boxes = []
    for part in ElementTree.fromstring(diagrams.picture(name)):
        if part.tag == f"{SVG}rect":
            boxes.append([float(part.get(k)) for k in ("x", "y", "width")])
        elif part.tag == f"{SVG}text":
            x, y, width = boxes[-1]
            # 7.2 units a character: the bold ones of Chromium's sans-serif.
            assert 7.2 * len(part.text) <= width
            assert float(part.get("x")) == pytest.approx(x + width / 2, abs=1)
            assert float(part.get("y")) > y
    assert len(boxes) >= len(diagrams.DIAGRAMS[name].splitlines())


def test_sizes_on_the_page_are_those_of_the_presets():
    rows = re.findall(r"`(\w+)` \| ([\d.]+) M \| ([\d.]+) G \|$", PAGE, re.M)
    assert [name for name, *_ in rows] == list(diagrams.DIAGRAMS)
    for name, millions, giga in rows:
        sizes = PRESETS[name].sizes()
        assert f"{sizes.parameters / 1e6:.1f}" == millions
        assert f"{sizes.multiply_adds / 1e9:.1f}" == giga


def test_names_on_the_page_are_presets():
    names = re.findall(r"`([a-z]\w+)`", PAGE)
    assert not [x for x in names if x not in PRESETS]


def test_shapes_of_demucs_are_those_that_its_layers_are_counted_with():
    for name, depth in (("hybrid_demucs_musdb18", 6), ("htdemucs", 4)):
        preset = PRESETS[name]
        known = diagrams.numbers(preset)
        _, places, steps, width = preset.count_levels(7.8)
        samples, hop = round(7.8 * 44100), known["n_fft"] // 4
        assert known["depth"] == depth
        assert width == known["widths"][depth - 1]
        frames = -(-samples // hop)
        if depth == 4:
            assert places == known["rows"][4] * frames
            assert steps == -(-samples // known["rates"][4])
        else:  # the last layer halves the frames of the one row
            assert places == -(-frames // 2)


def test_a_decoder_is_4_percent_of_bandit():
    # The page: the encoder is 96 % of the work.
    preset = PRESETS["bandit_musical64"]
    more = PRESETS["bandit_plus_dnr"].sizes().multiply_adds
    assert more == preset.sizes().multiply_adds
    one = dataclasses.replace(
        preset, separator={**preset.separator, "stems": ["speech"]}
    )
    decoder = (more - one.sizes().multiply_adds) / 2
    assert round(100 * (1 - 3 * decoder / more)) == 96
