"""What a delivery asks of stems: loudness, peaks, and whether they add up."""

import math

import numpy as np

from keras_bandit import __version__
from keras_bandit.common.files import write_json, write_text
from keras_bandit.common.loudness import LoudnessMeter
from keras_bandit.inference.dialogue import dialogue_share, dialogue_spans
from keras_bandit.inference.picture import Picture
from keras_bandit.inference.report_page import report_page
from keras_bandit.inference.resampler import Resampler

_OVERSAMPLING = 4  # of true peaks, ITU-R BS.1770-4, Annex 2


def _decibels(power):
    return 10 * math.log10(power) if power > 0 else -math.inf


def _json_number(value):
    """Rounded to hundredths; JSON has no infinity."""
    return round(value, 2) if math.isfinite(value) else None


def model_name(separator):
    """A model's preset, or where its weights are from, and their licence."""
    told = getattr(separator, "metadata", {})
    name = told.get("preset") or told.get("source") or "not named"
    licence = told.get("license")
    return f"{name} ({licence})" if licence else name


class _Meters:
    """Loudness, peak and look of one sound, block by block."""

    def __init__(self, source):
        self.loudness = LoudnessMeter.of(source)
        self.picture = Picture(source.sample_rate)
        rate = source.sample_rate
        self._oversampled = Resampler(rate, _OVERSAMPLING * rate)
        self._peak = 0.0

    def push(self, audio):
        self.loudness.push(audio)
        self.picture.push(audio)
        self._look(self._oversampled.push(audio))

    def _look(self, audio):
        self._peak = max(self._peak, float(np.abs(audio).max(initial=0)))

    def finish(self):
        self._look(self._oversampled.finish())
        self.picture.finish()
        return {
            "loudness_lufs": _json_number(self.loudness.loudness()),
            "loudness_range_lu": _json_number(self.loudness.loudness_range()),
            "true_peak_dbtp": _json_number(_decibels(self._peak**2)),
        }


class Report:
    """Measures a recording and its stems while they are written.

    `report.json` has, of the mixture and of all that is written,

    - `loudness_lufs`, `loudness_range_lu`: ITU-R BS.1770-4, EBU Tech 3342.
    - `true_peak_dbtp`: of the sound at four times its rate.

    and of all together

    - `null_test_db`: what the stems that are written leave of the mixture,
      over the mixture.
    - `dialogue_share`: part of the time in which speech is at most 20 LU below
      its own loudness, in blocks of 0.4 s; if speech or dialogue is written.

    `None` stands for silence. Nothing is normalized. `report.html` shows the
    same, and waveforms and spectrograms (`Picture`).

    Args:
        source: `Source`.
        names: list of str, what is written.
        stems: list of str, those of `names` that are stems of the model.
        model: str. What separated it, "" if not known.

    Raises:
        ImportError: without pyloudnorm, the extra `mix`.
    """

    def __init__(self, source, names, stems, model=""):
        self._source, self._model, self._stems = source, model, stems
        self._mixture = _Meters(source)
        self._meters = {name: _Meters(source) for name in names}
        self._left = self._whole = 0.0

    def push(self, mixture, written):
        """Takes the next samples: of the recording, and of all that is written."""
        self._mixture.push(mixture)
        for name, audio in written.items():
            self._meters[name].push(audio)
        rest = mixture.astype("float64")
        self._whole += np.sum(rest**2)
        for stem in self._stems:
            rest = rest - written[stem]
        self._left += np.sum(rest**2)

    def write(self, paths):
        """Ends the report, and writes it.

        Args:
            paths: dict of `pathlib.Path` in one folder: `"report"` (JSON) and
                `"page"` (HTML) are written; the page links to the others.

        Raises:
            OSError: if a file cannot be written.
        """
        source, meters = self._source, self._meters
        speech = meters.get("speech") or meters.get("dialogue")
        ratio = self._left / self._whole if self._whole else 0.0
        report = {
            "recording": {
                "source": source.name,
                "seconds": self._mixture.loudness.seconds,
                "sample_rate": source.sample_rate,
                "channels": source.num_channels,
                "layout": source.layout,
                "model": self._model,
                "program": f"keras-bandit {__version__}",
            },
            "mixture": self._mixture.finish(),
            "stems": {name: m.finish() for name, m in meters.items()},
            "null_test_db": _json_number(_decibels(ratio)),
        }
        spans = None
        if speech:
            share = dialogue_share(speech.loudness)
            report["dialogue_share"] = round(share, 4)
            spans = dialogue_spans(speech.loudness)
        write_json(paths["report"], report)
        pictures = {name: m.picture for name, m in meters.items()}
        pictures[None] = self._mixture.picture
        files = {name: p.name for name, p in paths.items() if name != "page"}
        write_text(paths["page"], report_page(report, pictures, spans, files))
