"""What may be chosen, and what it means for `separate_file`."""

import json

import pytest

from keras_bandit.inference.options import SeparationOptions
from keras_bandit.models.presets import PRESETS, weights_directory
from keras_bandit.serve.choices import (
    Model,
    _built_in,
    check_request,
    models_on_offer,
    qualities,
    separation_options,
)

pytestmark = pytest.mark.once

LONG = {"chunk_seconds": 12.0, "hop_seconds": 10.0}
SHORT = {"chunk_seconds": 6.0, "hop_seconds": 0.5}
STANDARD = {"standard": {}}


@pytest.mark.parametrize(
    ("chunk", "crossfade", "expected"),
    [
        (6.0, "hann", {"fast": LONG, **STANDARD, "authors": SHORT}),
        (
            8.0,
            "hann",
            {
                "fast": LONG,
                **STANDARD,
                "authors": {"chunk_seconds": 8.0, "hop_seconds": 1.0},
            },
        ),
        (
            3.0,
            "hann",
            {
                "fast": LONG,
                **STANDARD,
                "authors": {"chunk_seconds": 3.0, "hop_seconds": 2.5},
            },
        ),
        (10.0, "hann", {"fast": LONG, **STANDARD}),
        (44.0, "hann", STANDARD),
        (42.0, "middle", STANDARD),
        (7.8, "triangle", {**STANDARD, "authors": {"shifts": 1}}),
    ],
)
def test_qualities_are_long_chunks_the_models_and_the_authors(
    chunk, crossfade, expected
):
    assert qualities(chunk, crossfade) == expected


@pytest.mark.parametrize(
    ("preset", "chunk_seconds", "crossfade"),
    [
        ("bandit_demo", 6.0, "hann"),
        ("bandit_plus_dnr", 6.0, "hann"),
        ("bandit_v2_multi", 8.0, "hann"),
        ("bsrnn_gru8_vox7_dnr", 6.0, "hann"),
        ("umxhq_dnr", 6.0, "hann"),
        ("demucs_dnr", 6.0, "hann"),
        ("htdemucs", 7.8, "triangle"),
    ],
)
def test_released_models_are_chunked_as_they_say(
    preset, chunk_seconds, crossfade
):
    model = _built_in(preset)
    assert (model.chunk_seconds, model.crossfade) == (chunk_seconds, crossfade)


@pytest.mark.parametrize(
    "preset", [name for name, preset in PRESETS.items() if preset.weights]
)
def test_every_quality_is_something_that_separate_file_takes(preset):
    model = _built_in(preset)
    described = model.describe()
    json.dumps(described)
    for name, options in model.qualities.items():
        SeparationOptions(**options)
        told = described["qualities"][name]
        assert 0 < told["hop_seconds"] <= told["chunk_seconds"]
        assert told["work"] >= 1
    works = {n: told["work"] for n, told in described["qualities"].items()}
    assert works.get("fast", 0) < works["standard"]


def test_a_directory_tells_the_same(tmp_path):
    folder = weights_directory("bandit_demo")
    (named,) = models_on_offer([str(folder)]).values()
    assert named.qualities == _built_in("bandit_demo").qualities
    (tmp_path / "own").mkdir()
    config = {"stems": ["vocals"], "crossfade": "middle", "chunk_seconds": 42}
    task = {"class_name": "OpenUnmixAudioSeparator", "config": config}
    (tmp_path / "own" / "task.json").write_text(json.dumps(task))
    (tmp_path / "own" / "config.json").write_text("{}")
    (own,) = models_on_offer([str(tmp_path / "own")]).values()
    assert (own.chunk_seconds, own.crossfade) == (42, "middle")
    assert list(own.qualities) == ["standard"]


def model(*stems):
    return {"m": Model("m", "m", "", "", list(stems), 1)}


def test_a_model_offers_what_its_stems_allow():
    (dnr,) = model("speech", "music", "sfx").values()
    assert dnr.deliverables == ["me", "dialogue"]
    assert "markers" in dnr.extras
    (split,) = model("speech", "music", "effects", "singing").values()
    assert split.deliverables == ["me", "dialogue", "optionals"]
    (musdb,) = model("vocals", "drums", "bass", "other").values()
    assert musdb.deliverables == []
    assert "markers" not in musdb.extras
    with pytest.raises(ValueError, match="deliver"):
        check_request({"deliver": ["me"]}, model("vocals", "other"))


def test_a_delivery_needs_no_stems():
    models = model("speech", "music", "effects")
    request = check_request({"deliver": ["me"], "remux": "mov"}, models)
    options = separation_options(request, has_picture=True)
    assert (options["stems"], options["deliver"]) == ([], ["me"])
    assert options["remux"] == "mov"
    assert separation_options(request, has_picture=False)["remux"] is None
    assert check_request({}, models)["stems"] == models["m"].stems
    with pytest.raises(ValueError, match="at least one"):
        check_request({"stems": []}, models)
