"""Where dialogue is: spans of the stem of speech, as markers for editors."""

import csv
import io
import math

import numpy as np

from keras_bandit.common.checks import check_choice
from keras_bandit.common.files import write_text
from keras_bandit.media.timecode import clock_of

MARKERS = ("csv", "edl")
"""Formats of markers."""

_BELOW = 20.0  # LU below the speech's loudness: ends of words are quieter
_STEP_SECONDS = 0.1  # of `LoudnessMeter`
_SHORTEST_PAUSE = 5  # steps; people breathe in less and go on
_SHORTEST_SPAN = 2  # steps; a syllable takes as long, a click does not


def _gate(meter):
    """Mean square from which speech is heard; infinity if there is none."""
    loudness = meter.loudness()
    if not math.isfinite(loudness):
        return math.inf
    return 10 ** ((loudness - _BELOW + 0.691) / 10)


def dialogue_share(meter):
    """Part of the time in which speech is heard, 0 to 1.

    That is where it is at most 20 LU below its own loudness, in blocks of
    0.4 s. `meter` is the `LoudnessMeter` of the stem of speech.
    """
    return float(np.mean(meter.block_power(4) >= _gate(meter)))


def dialogue_spans(meter):
    """When speech is heard: a list of `(start, end)` in seconds.

    The gate is that of `dialogue_share`, on steps of 0.1 s, since blocks of
    0.4 s would begin up to 0.3 s early. Pauses below 0.5 s do not end a span,
    and spans below 0.2 s are left out.

    Args:
        meter: `LoudnessMeter` to which the stem of speech was pushed.
    """
    heard = meter.block_power(1) >= _gate(meter)
    edges = np.flatnonzero(np.diff(np.r_[False, heard, False]))
    spans = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if spans and start - spans[-1][1] < _SHORTEST_PAUSE:
            start = spans.pop()[0]
        spans.append((start, stop))
    # The last step may be shorter, or longer by half.
    times = [*np.arange(len(heard)) * _STEP_SECONDS, meter.seconds]
    return [
        (float(times[start]), float(times[stop]))
        for start, stop in spans
        if stop - start >= _SHORTEST_SPAN
    ]


def check_markers(markers, stems):
    """The stems of `stems` that markers need: `["speech"]`, or `[]` for none.

    `ValueError` for a format not of `MARKERS`, and without that stem.
    """
    for form in markers:
        check_choice("markers", form, MARKERS)
    if markers and "speech" not in stems:
        raise ValueError(
            f"markers need the stem speech; this model has {', '.join(stems)}"
        )
    return ["speech"] if markers else []


def write_markers(path, spans, source):
    """Writes spans as a table or as an edit decision list.

    Spans are widened to whole frames of the film, whose rate and timecode
    hold, else 25 frames a second from 00:00:00:00: an EDL says what was
    assumed.

    - `.csv`: start and end, in seconds from the start of picture and sound,
      and as timecode.
    - `.edl`: CMX 3600, an event on the first sound track for each span, with a
      locator. Numbers of events beyond 999 have four digits.

    Args:
        path: `pathlib.Path` that ends in .csv or .edl.
        spans: list of `(start, end)`, as `dialogue_spans` gives them.
        source: `Source`.

    Raises:
        OSError: if the file cannot be written.
    """
    clock, assumed = clock_of(source)
    rows = []
    for span in spans:
        rows.append((*span, *map(clock.timecode, clock.frames(*span))))
    if path.suffix == ".csv":
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(
            ["start_seconds", "end_seconds", "start_timecode", "end_timecode"]
        )
        for start, end, *timecodes in rows:
            writer.writerow([f"{start:.3f}", f"{end:.3f}", *timecodes])
        write_text(path, table.getvalue())
        return
    # The format is older than other letters, and lines are short.
    name = source.name.encode("ascii", "replace").decode()
    name = " ".join(name.split())[:60]
    lines = [
        f"TITLE: {name} DIALOGUE",
        f"FCM: {'' if clock.drop_frame else 'NON-'}DROP FRAME",
        f"* {float(clock.frame_rate):.6g} FRAMES A SECOND",
        *([f"* THE FILE DOES NOT TELL, ASSUMED: {assumed}"] * bool(assumed)),
    ]
    for number, (_, _, start, end) in enumerate(rows, 1):
        lines += [
            "",
            f"{number:03}  AX       A     C        {start} {end} {start} {end}",
            f"* FROM CLIP NAME: {name}",
            f"* LOC: {start} GREEN   DIALOGUE {number}",
        ]
    write_text(path, "\n".join(lines) + "\n")
