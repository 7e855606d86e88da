"""Evaluation of tracks: scores, files, resuming, failures, processes."""

import json
import math
import os
import pathlib
import sys

import numpy as np
import pytest
import soundfile

from keras_bandit.data.track import ArrayTrack, Track
from keras_bandit.evaluation import evaluate, oracle_estimate, scores

SETTINGS = {"hop_seconds": 0.05}
STEMS = ["speech", "music", "effects"]

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("no_plots")]


def run(model, tracks, output_dir, **kwargs):
    return evaluate(model, tracks, output_dir, **{**SETTINGS, **kwargs})


def files(folder):
    """Files below a folder with their content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file()
    }


def in_file(folder, track):
    path = pathlib.Path(folder, "tracks", f"{track.name}.json")
    return json.loads(path.read_text())["scores"]


# Scores


def test_rows_are_scores_of_mixture_masks_and_model(
    make_model, tracks, tmp_path
):
    summary = run(make_model(), tracks, tmp_path / "out")
    assert list(summary["mean"]) == ["mixture", "irm", "psf", "model"]
    for name in ("snr", "si_snr"):
        function = getattr(scores, name)
        for stem, gain in make_model().gains.items():
            for track in tracks:
                mixture, target = track.read("mixture"), track.read(stem)
                rows = in_file(tmp_path / "out", track)
                expected = {
                    "mixture": mixture,
                    "irm": oracle_estimate("irm", mixture, target),
                    "psf": oracle_estimate("psf", mixture, target),
                    "model": gain * mixture,
                }
                for row, estimate in expected.items():
                    assert rows[row][name][stem] == pytest.approx(
                        function(target, estimate), abs=1e-4
                    )


def test_mean_median_and_average(make_model, make_track, tmp_path):
    tracks = [make_track(f"{i}", i) for i in range(4)]
    summary = run(make_model(), tracks, tmp_path / "out")
    for row in ("mixture", "model"):
        values = {
            stem: [
                in_file(tmp_path / "out", t)[row]["snr"][stem] for t in tracks
            ]
            for stem in STEMS
        }
        for kind, function in (("mean", np.mean), ("median", np.median)):
            expected = {s: function(x) for s, x in values.items()}
            expected["average"] = np.mean(list(expected.values()))
            assert summary[kind][row]["snr"] == pytest.approx(expected)
    assert summary["defined"]["model"]["snr"] == dict.fromkeys(STEMS, 4)


def test_perfect_model(make_model, make_track, tmp_path):
    speech = np.random.default_rng(0).normal(0, 0.1, (2, 4000))
    silence = np.zeros((2, 4000), "float32")
    track = make_track(
        "only speech",
        channels=2,
        speech=speech.astype("float32"),
        music=silence,
        effects=silence,
    )
    model = make_model({"speech": 1.0, "music": 0.0, "effects": 0.0})
    summary = run(model, [track], tmp_path / "out")
    assert summary["mean"]["model"]["snr"]["speech"] > 80
    # Both energies are nothing but ε.
    assert summary["mean"]["model"]["snr"]["music"] == pytest.approx(0)


def test_mixture_consistency_is_of_all_stems(make_model, tracks, tmp_path):
    options = {"oracles": [], "mixture_consistency": True}
    left = (1 - 0.5 - 0.25 - 0.125) / 3
    for name, stems in (("all", None), ("music", ["music"])):
        output = tmp_path / name
        run(make_model(), tracks, output, stems=stems, **options)
        for track in tracks:
            expected = scores.snr(
                track.read("music"), (0.25 + left) * track.read("mixture")
            )
            found = in_file(output, track)["model"]["snr"]["music"]
            assert found == pytest.approx(expected, abs=1e-4)
        page = (output / "results.md").read_text()
        assert "With mixture consistency" in page
    with pytest.raises(ValueError, match="mixture_consistency"):
        run(make_model(), tracks, tmp_path / "all", oracles=[])


def test_mixture_that_is_not_stored_is_the_sum(
    make_model, make_track, tmp_path
):
    stored = make_track("a")
    stems = {stem: stored.read(stem) for stem in STEMS}
    # A part of a stem does not count twice (DnR v3).
    stems["effects_foreground"] = 0.5 * stems["effects"]
    summed = ArrayTrack("a", stored.sample_rate, stems)
    first = run(make_model(), [stored], tmp_path / "1")
    assert run(make_model(), [summed], tmp_path / "2") == first


def test_chunks_are_the_models_and_the_authors_hop_fits(
    make_model, tracks, tmp_path
):
    for seconds, hop in ((0.1, 0.1), (0.7, 0.5)):
        model = make_model()
        model.chunk_seconds = seconds
        evaluate(model, tracks, tmp_path / str(seconds), oracles=[])
        path = tmp_path / str(seconds) / "config.json"
        settings = json.loads(path.read_text())["settings"]
        found = settings["chunk_seconds"], settings["hop_seconds"]
        assert found == (seconds, hop)


def test_stereo_and_another_rate(make_model, make_track, tmp_path):
    track = make_track("a", channels=2, rate=16000)
    summary = run(make_model(), [track], tmp_path / "out", oracles=["mixture"])
    expected = np.mean(
        [
            scores.snr(
                track.read("speech")[i : i + 1],
                track.read("mixture")[i : i + 1],
            )
            for i in range(2)
        ]
    )
    assert summary["mean"]["mixture"]["snr"]["speech"] == pytest.approx(
        expected
    )
    page = (tmp_path / "out" / "results.md").read_text()
    assert "resampled to 8000 Hz" in page


# Stems


def test_sum_of_stems(make_model, tracks, tmp_path):
    composites = {"mne": ("music", "effects")}
    summary = run(make_model(), tracks, tmp_path / "out", composites=composites)
    track = tracks[0]
    target = track.read("music") + track.read("effects")
    rows = in_file(tmp_path / "out", track)
    for row, estimate in (
        ("model", 0.375 * track.read("mixture")),
        ("psf", oracle_estimate("psf", track.read("mixture"), target)),
    ):
        assert rows[row]["snr"]["mne"] == pytest.approx(
            scores.snr(target, estimate), abs=1e-4
        )
    plain = run(make_model(), tracks, tmp_path / "plain")
    assert (
        summary["mean"]["model"]["snr"]["average"]
        == (plain["mean"]["model"]["snr"]["average"])
    )


def test_own_decoder_for_a_sum_of_the_data_s_stems(
    make_model, tracks, tmp_path
):
    model = make_model({"mne": 0.5})
    run(model, tracks, tmp_path / "out")
    track = tracks[0]
    target = track.read("music") + track.read("effects")
    assert in_file(tmp_path / "out", track)["model"]["snr"] == {
        "mne": pytest.approx(
            scores.snr(target, 0.5 * track.read("mixture")), abs=1e-4
        )
    }


def test_sfx_are_effects(make_model, tracks, tmp_path):
    gains = {"speech": 0.5, "music": 0.25, "sfx": 0.125}
    composites = {"mne": ("music", "sfx")}
    v2 = run(make_model(gains), tracks, tmp_path / "2", composites=composites)
    composites = {"mne": ("music", "effects")}
    v1 = run(make_model(), tracks, tmp_path / "1", composites=composites)
    assert v2 == v1


def test_only_what_is_needed_is_computed(make_model, tracks, tmp_path):
    model = make_model()
    summary = run(model, tracks, tmp_path / "1", stems=["speech"])
    assert model.computed == ["speech"]
    assert set(summary["mean"]["model"]["snr"]) == {"speech", "average"}
    composites = {"mne": ("effects", "music")}
    run(model, tracks, tmp_path / "2", stems=["music"], composites=composites)
    assert model.computed == ["music", "effects"]


# Continuing


def test_done_tracks_are_kept(make_model, tracks, tmp_path):
    first = run(make_model(), tracks, tmp_path / "out")
    before = files(tmp_path / "out")
    idle = make_model(fail_after=0)
    assert run(idle, tracks, tmp_path / "out") == first
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize("num_workers", [0, 1])
def test_killed_and_continued_equals_uninterrupted(
    make_model, tracks, tmp_path, num_workers
):
    whole = run(make_model(), tracks, tmp_path / "whole")
    calls = 8  # in the second track: 6 calls each
    with pytest.raises(KeyboardInterrupt):
        run(
            make_model(fail_after=calls),
            tracks,
            tmp_path / "out",
            num_workers=num_workers,
        )
    done = os.listdir(tmp_path / "out" / "tracks")
    assert 0 < len(done) < 3 or num_workers
    model = make_model()
    assert run(model, tracks, tmp_path / "out") == whole
    total = make_model()
    run(total, tracks, tmp_path / "again")
    assert model.calls == total.calls * (3 - len(done)) / 3
    # The order of keys too.
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_more_tracks_later(make_model, tracks, tmp_path):
    run(make_model(), tracks[:1], tmp_path / "out")
    model = make_model()
    summary = run(model, tracks, tmp_path / "out")
    assert summary == run(make_model(), tracks, tmp_path / "whole")
    few = run(make_model(), tracks[1:], tmp_path / "out")
    assert few["num_tracks"] == 2


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"hop_seconds": 0.1}, "hop_seconds: 0.05 before, 0.1 now"),
        ({"oracles": ["mixture"]}, "oracles"),
        ({"metrics": ["snr"]}, "metrics"),
        ({"stems": ["speech"]}, "stems"),
        ({"composites": {"mne": ("music", "effects")}}, "composites"),
        ({"split": "validation"}, "split"),
        ({"gains": {"speech": 0.4, "music": 0.25, "effects": 0.1}}, "weights"),
    ],
)
def test_other_settings_are_refused(make_model, tracks, tmp_path, change, key):
    run(make_model(), tracks, tmp_path / "out")
    before = files(tmp_path / "out")
    model = make_model(change.pop("gains", None))
    with pytest.raises(ValueError, match=f"has other settings: .*{key}"):
        run(model, tracks, tmp_path / "out", **change)
    assert files(tmp_path / "out") == before
    assert model.calls == 0


def test_what_no_score_depends_on_may_change(make_model, tracks, tmp_path):
    first = run(make_model(), tracks, tmp_path / "out")
    again = run(
        make_model(fail_after=0),
        tracks,
        tmp_path / "out",
        batch_size=5,
        num_workers=1,
        model_name="other",
    )
    assert again == first
    assert (tmp_path / "out/results.md").read_text().startswith("# other\n")


def test_files_of_others_are_not_replaced(make_model, tracks, tmp_path):
    (tmp_path / "results.md").write_text("mine")
    with pytest.raises(ValueError, match=r"holds results.md but no config"):
        run(make_model(), tracks, tmp_path)
    assert files(tmp_path) == {"results.md": b"mine"}


def test_another_track_of_that_name(make_model, make_track, tmp_path):
    run(make_model(), [make_track("a")], tmp_path / "out")
    with pytest.raises(ValueError, match="another track of that name"):
        run(make_model(), [make_track("a", samples=5000)], tmp_path / "out")


@pytest.mark.parametrize("stem", ["mixture", "music"])
def test_other_audio_of_that_name(make_model, make_track, tmp_path, stem):
    before, after = make_track("a"), make_track("a")
    after.audio[stem][0, 1234] += 1e-3
    run(make_model(), [before], tmp_path / "out")
    with pytest.raises(ValueError, match=r"another track of.*audio_sha256"):
        run(make_model(), [after], tmp_path / "out")


def test_audio_that_no_score_depends_on(make_model, make_track, tmp_path):
    before = make_track("a", music_solo=np.zeros((1, 4000), "float32"))
    after = make_track("a", music_solo=np.zeros((1, 4000), "float32"))
    after.audio["music_solo"] += 1.0
    first = run(make_model(), [before], tmp_path / "out")
    assert run(make_model(), [after], tmp_path / "out") == first


@pytest.mark.parametrize("content", ["{", "null", '{"name": "track 1"}'])
@pytest.mark.parametrize("name", ["tracks/track 1.json", "config.json"])
def test_damaged_result(make_model, tracks, tmp_path, name, content):
    run(make_model(), tracks, tmp_path / "out")
    (tmp_path / "out" / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}: damaged"):
        run(make_model(), tracks, tmp_path / "out")


def test_versions_that_take_part_are_recorded(
    make_model, tracks, tmp_path, monkeypatch
):
    run(make_model(), tracks[:1], tmp_path / "out")
    monkeypatch.setattr(
        # The package has the function of that name.
        sys.modules["keras_bandit.evaluation.evaluate"],
        "versions_of",
        lambda engine: {"keras": "9"},
    )
    run(make_model(), tracks, tmp_path / "out")
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert len(config["versions"]) == 2
    assert config["versions"][1] == {"keras": "9"}
    assert "keras 9" in (tmp_path / "out/results.md").read_text()


@pytest.mark.parametrize(
    "names", [["a/b", "a%2Fb"], ["..", "."], ["Ümläut ?*", "x\ny"]]
)
def test_any_name_of_a_track(make_model, make_track, tmp_path, names):
    tracks = [make_track(name, i) for i, name in enumerate(names)]
    first = run(make_model(), tracks, tmp_path / "out")
    assert len(os.listdir(tmp_path / "out/tracks")) == 2
    assert os.listdir(tmp_path) == ["out"]
    assert run(make_model(fail_after=0), tracks, tmp_path / "out") == first


# Failures


class Broken(Track):
    """A track whose reading fails, at once or for one stem."""

    def __init__(self, name, error, stem="mixture"):
        super().__init__(name, 8000, 1, 4000, [*STEMS, "mixture"])
        self.error, self.stem = error, stem

    def _read(self, stem, start, stop):
        if stem == self.stem:
            raise self.error
        return np.full((1, stop - start), 0.1, "float32")


@pytest.mark.parametrize("stem", ["mixture", "music"])
@pytest.mark.parametrize(
    "error",
    [
        ValueError("x.wav: damaged"),
        OSError(5, "x.wav: damaged"),
        soundfile.LibsndfileError(7, "x.wav: damaged "),
    ],
)
def test_damaged_track_is_named_and_the_others_done(
    make_model, tracks, tmp_path, error, stem
):
    lines = []
    tracks.insert(1, Broken("bad", error, stem))
    summary = run(make_model(), tracks, tmp_path / "out", report=lines.append)
    assert summary["num_tracks"] == 3
    assert list(summary["failed"]) == ["bad"]
    assert len(lines) == 1
    assert lines[0].startswith("track bad: ")
    assert "x.wav: damaged" in lines[0]
    whole = run(make_model(), [tracks[0], *tracks[2:]], tmp_path / "whole")
    assert {**summary, "failed": {}} == whole
    assert (
        "not in the tables**: bad: "
        in (tmp_path / "out/results.md").read_text()
    )
    # Tried again, not taken for done.
    again = run(make_model(), tracks, tmp_path / "out", report=lines.append)
    assert (again, len(lines)) == (summary, 2)


def test_without_report_a_failure_warns(make_model, tracks, tmp_path):
    tracks.append(Broken("bad", ValueError("why")))
    with pytest.warns(RuntimeWarning, match="track bad: why"):
        run(make_model(), tracks, tmp_path / "out")


def test_all_failed(make_model, tmp_path):
    tracks = [Broken("bad", ValueError("why"))]
    summary = run(make_model(), tracks, tmp_path / "out", report=print)
    assert summary == {"num_tracks": 0, "failed": {"bad": "why"}}
    assert not (tmp_path / "out/results.md").exists()
    # No score is kept, so that settings may change.
    other = {"oracles": ["mixture"], "report": print}
    assert run(make_model(), tracks, tmp_path / "out", **other) == summary
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["settings"]["oracles"] == ["mixture"]


@pytest.mark.parametrize("stem", ["mixture", "music"])
def test_nan_in_a_track(make_model, make_track, tmp_path, stem):
    bad = make_track("bad", 1)
    bad.audio[stem][0, 2000] = np.nan
    summary = run(
        make_model(), [make_track("a"), bad], tmp_path / "out", report=print
    )
    assert list(summary["failed"]) == ["bad"]
    assert "nan in channel 0, sample 2000" in summary["failed"]["bad"]


def test_model_that_gives_nan(make_model, tracks, tmp_path):
    model = make_model({**make_model().gains, "music": math.nan})
    summary = run(model, tracks, tmp_path / "out", report=print)
    assert len(summary["failed"]) == 3
    assert "estimate of music is not finite" in summary["failed"]["track 0"]


def test_a_fault_that_is_not_the_track_s_ends_the_evaluation(
    make_model, tracks, tmp_path
):
    model = make_model(fail_after=0, error=MemoryError)
    with pytest.raises(MemoryError):
        run(model, tracks, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stems": ["voice"]}, "stems must be a list of some of"),
        ({"stems": []}, "stems must be a list of some of"),
        ({"composites": {"mne": ("music", "sound")}}, "composites.'mne'. must"),
        ({"composites": {"music": ("speech", "effects")}}, "must be new names"),
        ({"composites": {"mne": ("music",)}}, "two stems or more"),
        ({"oracles": ["best"]}, "oracles must be a list of some of"),
        ({"oracles": "irm"}, "oracles must be a list of some of"),
        ({"metrics": ["pesq"]}, "metrics must be a list of some of"),
        ({"hop_seconds": 0.2}, "at most chunk_seconds"),
        ({"batch_size": 10**20}, "batch_size .* 1 to 65536; got 1"),
        ({"num_workers": -1}, "num_workers .* at least 0; got -1"),
        ({"tracks": []}, "at least one"),
        ({"tracks": ["a", "b", "a"]}, r"names that differ; got \['a'\]"),
    ],
)
def test_bad_arguments_before_anything_is_written(
    make_model, make_track, tmp_path, change, message
):
    names = change.pop("tracks", ["a"])
    tracks = [make_track(name) for name in names]
    with pytest.raises(ValueError, match=message):
        run(make_model(), tracks, tmp_path / "out", **change)
    assert os.listdir(tmp_path) == []


def test_track_without_a_stem(make_model, make_track, tmp_path):
    track = make_track("a")
    few = {stem: track.read(stem) for stem in ("speech", "music")}
    with pytest.raises(ValueError, match="track a has no effects; it has sp"):
        run(make_model(), [ArrayTrack("a", 8000, few)], tmp_path / "out")


# Threads


def test_workers_give_the_same(make_model, tracks, tmp_path):
    here = run(make_model(), tracks, tmp_path / "here")
    there = run(make_model(), tracks, tmp_path / "there", num_workers=2)
    assert there == here
    assert files(tmp_path / "there") == files(tmp_path / "here")
