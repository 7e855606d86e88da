"""What recipes/quality.py does to clips, and that it fills the page."""

import re

import numpy as np
import pytest
import small

from keras_bandit.data.track import ArrayTrack
from keras_bandit.evaluation.scores import snr
from keras_bandit.models.presets import PRESETS

RATE = 44100
PAGE = (small.RECIPES.parent / "docs" / "quality.md").read_text("utf-8")


@pytest.fixture
def quality():
    pytest.importorskip("av")
    pytest.importorskip("scipy")
    import quality

    return quality


def tone(hz, seconds=1.0):
    time = np.arange(int(seconds * RATE)) / RATE
    return 0.1 * np.sin(2 * np.pi * hz * time)[None]


def level(sound):
    return 10 * np.log10(np.mean(np.square(sound)))


def test_band_keeps_what_lies_in_it(quality):
    inside, outside = (
        quality.band_pass(tone(hz), RATE, 300, 3400) for hz in (1000, 8000)
    )
    # Not at the ends, where tones begin and filters ring.
    middle = slice(RATE // 10, -RATE // 10)
    assert level(inside[:, middle]) == pytest.approx(-23.0, abs=0.1)
    assert level(outside[:, middle]) < -83.0


def test_a_hall_doubles_the_energy_and_dies_away(quality):
    click = np.zeros((1, 2 * RATE))
    click[0, 0] = 1.0
    heard = quality.in_a_hall(click, RATE)[0]
    assert np.sum(heard**2) == pytest.approx(2.0, abs=0.01)
    assert heard[0] == pytest.approx(1.0)
    # 60 dB down after 1.2 s: 30 dB between 0.1 s and 0.7 s.
    early, late = (level(heard[int(t * RATE) :][:4410]) for t in (0.1, 0.7))
    assert early - late == pytest.approx(30, abs=1.5)


@pytest.mark.parametrize("samples", [RATE, RATE + 1000])
def test_the_codec_comes_back_in_time(quality, samples):
    sound = tone(440, 2.0)[:, :samples] + tone(3000, 2.0)[:, :samples]
    coded = quality.through_aac(sound, RATE)
    assert coded.shape == sound.shape
    # 28 dB; a delay of one sample would leave 10. Tones begin at the ends.
    middle = slice(4096, -4096)
    assert snr(sound[:, middle], coded[:, middle]) > 25


def clips(quality, count):
    rng = np.random.default_rng(0)
    return [
        ArrayTrack(
            f"clip {i}",
            RATE,
            {s: 0.1 * rng.standard_normal((1, RATE)) for s in quality.STEMS},
        )
        for i in range(count)
    ]


class Shares:
    """Gives each stem a third of the mixture."""

    def __call__(self, separator, mixture, rate, hop_seconds):
        assert mixture.dtype == np.float32
        return dict.fromkeys(("speech", "music", "effects"), mixture / 3)


def test_a_share_of_the_mixture_gains_nothing(quality, monkeypatch):
    monkeypatch.setattr(quality, "separate", Shares())
    gains, leaks = quality.measure(None, clips(quality, 2), 1.0)
    assert set(gains) == {*quality.SCENES, quality.CODED}
    for row in gains.values():
        for stem in quality.STEMS:
            np.testing.assert_allclose(row[stem], 0.0, atol=1e-4)
    third = 20 * np.log10(1 / 3)
    assert set(leaks) == {*quality.STEMS, quality.PHONE, quality.HALL}
    for kind in leaks:
        for stem in quality.STEMS:
            np.testing.assert_allclose(leaks[kind][stem], third, atol=1e-4)


def test_the_command_fills_the_page(quality, monkeypatch, tmp_path, capsys):
    import keras

    from keras_bandit.models import BanditAudioSeparator

    keras.utils.set_random_seed(0)
    sizes = {"embed_dim": 4, "rnn_dim": 4, "num_pairs": 1, "num_bands": 4}
    BanditAudioSeparator.from_architecture(
        {"n_fft": 512, **sizes},
        {"stems": list(quality.STEMS), "hop_length": 256, "mlp_dim": 4},
    ).save_to_preset(tmp_path / "preset")
    monkeypatch.setattr(quality, "open_tracks", lambda *_: clips(quality, 2))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{quality.BEGIN}old\n{quality.END}\nafter\n")
    options = ["data", "--preset", str(tmp_path / "preset"), "--clips", "1"]
    quality.main([*options, "--page", str(page)])
    text = page.read_text()
    assert text.startswith(f"before\n{quality.BEGIN}")
    assert text.endswith(f"{quality.END}\nafter\n")
    assert "old\n" not in text
    for name in (*quality.SCENES, quality.CODED):
        assert f"| {name} " in text
    quality.main(options)
    assert "mean of 1 clips" in capsys.readouterr().out


def test_published_scores_on_the_page_are_those_of_table_1():
    import table1

    scores = {x.name.split(",")[0]: x.scores for x in table1.TABLE_1_SYSTEMS}
    for name, kind in (("BandIt+", "snr"), ("MRX", "si_snr")):
        title = {"snr": "SNR", "si_snr": "SI-SNR"}[kind]
        values = " | ".join(str(x) for x in scores[name][kind].values())
        assert f"| {name} on DnR: {title} [1] | {values} |" in PAGE


def test_licences_on_the_page_are_those_of_the_weights():
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| ([^|]+) \|$", PAGE, re.M)
    assert len(rows) == 7
    for name, licence in rows:
        weights = PRESETS[name].weights
        given = "Apache-2.0"
        if not isinstance(weights, str):
            given = weights.record.licence
        plain = given.replace("CC-", "CC ").replace("-4.0", " 4.0")
        plain = plain.replace("-2.0", " 2.0")
        assert plain.startswith(licence)


def test_the_page_says_what_its_tables_say(quality):
    """After another measurement the sentences may have to change as well."""
    assert PAGE.count(quality.BEGIN) == PAGE.count(quality.END) == 1
    pattern = r"^\| (.+?) +\| (\S+) \(\S+\) +\| (\S+) \(\S+\) +\| (\S+) "

    def means(text):
        rows = re.findall(pattern, text, re.M)
        return {
            name: dict(zip(quality.STEMS, map(float, values), strict=True))
            for name, *values in rows
        }

    gains, leaks = map(means, PAGE.split("| the scene is only"))
    assert set(gains) == {*quality.SCENES, quality.CODED}
    usual = gains["as mixed"]
    lost = {
        name: {stem: usual[stem] - row[stem] for stem in quality.STEMS}
        for name, row in gains.items()
    }
    # "A hall costs speech most", "A codec costs next to nothing", …
    speech = {name: row["speech"] for name, row in lost.items()}
    assert max(speech, key=speech.get) == "speech in a hall, 1.2 s"
    for name in (quality.CODED, "6 dB louder", "20 dB quieter"):
        assert max(lost[name].values()) <= 0.5
    assert speech["old film: all 100 to 5000 Hz"] > 1
    lower = lost["speech 15 dB lower"]
    assert lower["speech"] < 1
    assert min(lower["music"], lower["effects"]) > 3
    phone = lost["telephone: speech 300 to 3400 Hz"]
    assert phone["speech"] < 1
    assert phone["effects"] == pytest.approx(3, abs=0.5)
    # "What leaks most is music into effects"
    leaks = {
        (kind, stem): leaks[kind][stem]
        for kind in quality.STEMS
        for stem in quality.STEMS
        if stem != kind
    }
    assert max(leaks, key=leaks.get) == ("music", "effects")
