"""`report.html`: a report to look at, in one file that needs no other."""

import html
import math
import os
import urllib.parse

from keras_bandit.inference.picture import RANGE_DB, gradient

_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30]
_STEPS += [60 * step for step in (1, 2, 5, 10, 15, 30, 60, 120, 240)]
_MOST_STEPS = 5  # of a time axis: labels fit on a phone
_FREQUENCIES = {100: "100", 1000: "1 k", 4000: "4 k", 10_000: "10 k"}

# Colours of text have a contrast of 4.5 to both backgrounds, in both themes.
CSS = """
:root { color-scheme: light dark; --page: #f4f4f6; --card: #ffffff;
  --text: #1b1c22; --quiet: #5a5d6b; --line: #d9dae1; --accent: #1f5fbf;
  --s0: #5a5d6b; --s1: #1f5fbf; --s2: #b0480f; --s3: #23753c; --s4: #8a3a9c; }
@media (prefers-color-scheme: dark) { :root { --page: #121317;
  --card: #1b1d23; --text: #e9eaf0; --quiet: #a3a7b6; --line: #343843;
  --accent: #86b4ff; --s0: #a3a7b6; --s1: #86b4ff; --s2: #f2a06a;
  --s3: #79cc91; --s4: #d59be6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 72rem;
  background: var(--page); color: var(--text); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25;
  overflow-wrap: anywhere; }
h2 { margin: 2rem 0 .6rem; font-size: 1.15rem; }
h3 { margin: 0; font-size: 1rem; }
h3::before { content: ""; display: inline-block; width: .7em; height: .7em;
  margin-right: .5em; border-radius: 2px; background: var(--color); }
p { margin: .3rem 0; max-width: 65ch; }
a { color: var(--accent); }
.quiet, figcaption { color: var(--quiet); font-size: .875rem; }
.card { background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; padding: .9rem 1rem; margin: 0 0 .8rem;
  max-width: none; }
.facts { display: flex; flex-wrap: wrap; gap: .8rem 2.5rem; margin: 1rem 0; }
.facts dd { margin: 0; font-size: 1.05rem; font-weight: 600;
  overflow-wrap: anywhere; }
.note { border-left: .25rem solid var(--s2); }
.levels { max-width: 36rem; }
table { border-collapse: collapse; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .3rem; text-align: right; font-weight: 400;
  border-bottom: 1px solid var(--line); }
tr:last-child > * { border-bottom: 0; }
thead th { color: var(--quiet); font-size: .8rem; line-height: 1.25;
  vertical-align: bottom; }
th:first-child { text-align: left; overflow-wrap: anywhere; }
tbody th { font-weight: 600; }
.head { display: flex; flex-wrap: wrap; align-items: center;
  justify-content: space-between; gap: .5rem; margin-bottom: .5rem; }
audio { height: 2.25rem; width: 22rem; max-width: 100%; }
figure { margin: 0; position: relative; padding-left: 2.6rem; }
svg { display: block; width: 100%; }
.wave { height: 4rem; margin-bottom: .25rem; fill: var(--color);
  stroke: var(--color); }
.spectrum { height: 8rem; border-radius: .25rem; background: #090814; }
.strip { height: 1.6rem; border-radius: .25rem; fill: var(--s1);
  background: var(--page); }
.axis, .scale { position: relative; color: var(--quiet); font-size: .75rem;
  font-variant-numeric: tabular-nums; line-height: 1; }
.axis { height: 1.2rem; overflow: hidden; }
.axis span { position: absolute; top: 0; padding: .35rem 0 0 .25rem;
  border-left: 1px solid var(--line); white-space: nowrap; }
.scale { position: absolute; left: 0; bottom: 1.2rem; width: 2.3rem;
  height: 8rem; text-align: right; }
.scale span { position: absolute; right: 0; transform: translateY(50%);
  white-space: nowrap; }
.key { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; }
.key i { flex: 0 0 9rem; height: .7rem; border-radius: .25rem;
  border: 1px solid var(--line); background: linear-gradient(90deg, GRADIENT); }
""".replace("GRADIENT", gradient())


def _text(text):
    """Text for HTML, also names of files that are not valid UTF-8."""
    return html.escape(str(text).encode("utf-8", "replace").decode())


def _link(name):
    """A relative address of a file in the same folder."""
    return html.escape("./" + urllib.parse.quote(os.fsencode(name)))


def _clock(seconds, decimals=0):
    """A time as "1:02:03", or "2:03.4"."""
    minutes, rest = divmod(round(seconds * 10**decimals), 60 * 10**decimals)
    width = 2 + decimals + bool(decimals)
    rest = f"{rest / 10**decimals:0{width}.{decimals}f}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest}" if hours else f"{minutes}:{rest}"


def _number(value, unit="", none="silent"):
    if value is None:
        return none
    value = round(value, 1) + 0.0  # not -0.0
    return f"{value:.1f}{unit}".replace("-", "\N{MINUS SIGN}")


def _axis(seconds):
    """Labels of a time axis."""
    step = next((s for s in _STEPS if seconds / s <= _MOST_STEPS), None)
    step = step or math.ceil(seconds / _MOST_STEPS / 3600) * 3600
    labels = ""
    for i in range(math.ceil(seconds / step)):
        place, at = 100 * i * step / seconds, _clock(i * step, int(step < 1))
        # The last one would be cut at the right end.
        labels += f'<span style="left:{place:.3f}%">' + (
            f"{at}</span>" if place < 90 else "</span>"
        )
    return f'<div class="axis" aria-hidden="true">{labels}</div>'


def _levels(sounds):
    columns = {
        "Loudness<br>LUFS": "loudness_lufs",
        "Range<br>LU": "loudness_range_lu",
        "True peak<br>dBTP": "true_peak_dbtp",
    }
    heads = "".join(f'<th scope="col">{column}</th>' for column in columns)
    rows = ""
    for name, levels in sounds.items():
        cells = (_number(levels[key]) for key in columns.values())
        cells = "".join(f"<td>{cell}</td>" for cell in cells)
        rows += f'<tr><th scope="row">{_text(name)}</th>{cells}</tr>\n'
    return (
        f'<table><thead><tr><th scope="col">Sound</th>{heads}</tr></thead>\n'
        f"<tbody>{rows}</tbody></table>"
    )


def _timeline(spans, seconds):
    """A strip that is coloured where dialogue is."""
    marks = "".join(
        f"M{1000 * start / seconds:.2f} 0V1H{1000 * end / seconds:.2f}V0z"
        for start, end in spans
    )
    heard = sum(end - start for start, end in spans)
    places = f"{len(spans)} place{'s' * (len(spans) != 1)}"
    alt = f"Dialogue in {places}, {_clock(heard)} in all"
    return (
        f'<figure><svg class="strip" role="img" aria-label="{alt}" '
        'viewBox="0 0 1000 1" preserveAspectRatio="none">'
        f'<path d="{marks}"/></svg>{_axis(seconds)}'
        f"<figcaption>{alt}, of {_clock(seconds)}.</figcaption></figure>"
    )


def _figure(name, levels, picture, peak, loudest_db, seconds):
    """Waveform above spectrogram, both of all the time."""
    width, name = f"{picture.width:.3f}", _text(name)
    columns, high = len(picture.low), round(1000 * peak) or 1000
    level = _number(levels["true_peak_dbtp"], " dBTP", "no sound")
    places = ((picture.height_of(hz), hz) for hz in _FREQUENCIES)
    scale = "".join(
        f'<span style="bottom:{100 * place:.1f}%">{_FREQUENCIES[hz]}</span>'
        for place, hz in places
        if place < 0.97
    )
    return f"""<figure>
<svg class="wave" role="img" aria-label="Waveform of {name}: {level}"
 viewBox="0 {-high} {width} {2 * high}" preserveAspectRatio="none">
<path vector-effect="non-scaling-stroke" d="{picture.envelope()}"/></svg>
<svg class="spectrum" role="img" aria-label="Spectrogram of {name}, 0 to \
{picture.highest_hz / 1000:g} kHz" viewBox="0 0 {width} 1"
 preserveAspectRatio="none"><image width="{columns}" height="1"
 preserveAspectRatio="none"
 href="data:image/png;base64,{picture.spectrogram(loudest_db)}"/></svg>
{_axis(seconds)}<div class="scale" aria-hidden="true">{scale}</div>
</figure>"""


def report_page(report, pictures, spans, files):
    """The text of `report.html`.

    The same report gives the same text: it has no date. Waveforms have one
    scale, spectrograms one scale of colours, and all one axis of time.

    Args:
        report: dict, as `Report.result` gives it.
        pictures: dict of a finished `Picture` for each name in
            `report["stems"]`, and of the mixture's for `None`.
        spans: list of `(start, end)` in seconds, where dialogue is; `None` if
            not known.
        files: dict of names of files in the page's folder: stems, which can be
            played, and others, which are linked.
    """
    recording, stems = report["recording"], report["stems"]
    seconds, title = recording["seconds"], _text(recording["source"])
    mixture = "mixture (input)" if "mixture" in stems else "mixture"
    sounds = {mixture: report["mixture"], **stems}
    shown = {
        mixture: pictures[None],
        **{name: pictures[name] for name in stems},
    }
    loudest_db = max(p.loudest_db for p in shown.values())
    peak = max(p.peak for p in shown.values())
    facts = {
        "Length": _clock(seconds, 1),
        "Rate": f"{recording['sample_rate']} Hz",
        "Channels": f"{recording['channels']} ({recording['layout']})",
        "Model": recording["model"],
        "Made with": recording["program"],
        "Left over by the stems": _number(
            report["null_test_db"], " dB", "nothing"
        ),
    }
    if "dialogue_share" in report:
        share = 100 * report["dialogue_share"]
        facts["Time with dialogue"] = f"{share:.1f} %"
    facts = "".join(
        f'<div><dt class="quiet">{fact}</dt><dd>{_text(value)}</dd></div>'
        for fact, value in facts.items()
        if value
    )
    figures = ""
    for i, (name, levels) in enumerate(sounds.items()):
        audio = ""
        if name in files and name in stems:
            audio = (
                f'<audio controls preload="none" src="{_link(files[name])}" '
                f'aria-label="Play {_text(name)}"></audio>'
            )
        color = 0 if i == 0 else 1 + (i - 1) % 4
        figures += (
            f'<section class="card" style="--color:var(--s{color})">'
            f'<div class="head"><h3>{_text(name)}</h3>{audio}</div>\n'
            + _figure(name, levels, shown[name], peak, loudest_db, seconds)
            + "</section>\n"
        )
    draft = timeline = ""
    for name in [n for n in ("me", "mne") if n in stems]:
        draft += (
            f'<p class="card note"><strong>{name} is a draft of an M&amp;E'
            "</strong>, not a fully-filled one: it holds the music and the "
            "effects that the model found. Steps, cloth and props that were "
            "recorded with the dialogue have to be made again.</p>"
        )
    if spans is not None:
        strip = _timeline(spans, seconds)
        timeline = f'<h2>Dialogue</h2><div class="card">{strip}</div>'
    others = ", ".join(
        f'<a href="{_link(file)}">{_text(file)}</a>'
        for name, file in files.items()
        if name not in stems
    )
    full_scale = _number(20 * math.log10(peak) if peak else None, " dBFS", "0")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: stems</title>
<style>{CSS}</style></head>
<body>
<header><p class="quiet">Report of separation</p><h1>{title}</h1>
<dl class="facts card">{facts}</dl></header>
<main>{draft}
<h2>Levels</h2><div class="card levels">{_levels(sounds)}</div>
{timeline}
<h2>Waveforms and spectrograms</h2>
<p class="quiet key"><span>{RANGE_DB:g} dB below</span>
<i role="img" aria-label="from dark to light"></i><span>loudest place</span></p>
<p class="quiet">All spectrograms share these colours, and frequencies are in \
Hz. All waveforms share a scale, whose edges are at {full_scale}.</p>
{figures}</main>
<footer class="quiet"><p>Loudness and its range: ITU-R BS.1770-4, EBU Tech \
3342. True peak: at four times the rate. Left over: power of the mixture minus \
the stems that are written, over the mixture's. Dialogue: speech at most 20 LU \
below its own loudness. Nothing is normalized.</p>
<p>Files: {others}</p></footer>
</body></html>
"""
