"""Evaluation of a model on whole tracks."""

from __future__ import annotations

import functools
import sys
import warnings
from typing import TYPE_CHECKING

from tqdm import tqdm

from keras_bandit.common.checks import check_whole
from keras_bandit.common.one_line import one_line
from keras_bandit.evaluation.pages import write_results
from keras_bandit.evaluation.plan import make_plan, stem_name
from keras_bandit.evaluation.results import Results
from keras_bandit.evaluation.scoring import (
    estimates_of,
    read_mixture,
    score_all,
)
from keras_bandit.evaluation.tables import summarize
from keras_bandit.inference import DEFAULT_BATCH_SIZE, MAX_BATCH_SIZE
from keras_bandit.inference.engines import with_engine
from keras_bandit.inference.separation import (
    check_adds_up,
    chunk_and_hop,
    separate,
)
from keras_bandit.models.record import describe_model, versions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from keras_bandit.common.types import AnyPath
    from keras_bandit.data.track import Track
    from keras_bandit.inference.core_separator import CoreSeparator
    from keras_bandit.models.separator import AudioSeparator


AUTHORS_HOP_SECONDS = 0.5
"""From chunk to chunk: a twelfth of BandIt's chunk."""


def evaluate(
    separator: AudioSeparator | CoreSeparator,
    tracks: Sequence[Track],
    output_dir: AnyPath,
    stems: Sequence[str] | None = None,
    composites: Mapping[str, Sequence[str]] | None = None,
    chunk_seconds: float | None = None,
    hop_seconds: float | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    oracles: Sequence[str] = ("mixture", "irm", "psf"),
    metrics: Sequence[str] = ("snr", "si_snr"),
    num_workers: int = 0,
    progress: bool = False,
    model_name: str = "Model",
    dataset: str | None = None,
    split: str | None = None,
    report: Callable | None = None,
    engine: str = "keras",
    precision: str = "float32",
    mixture_consistency: bool = False,
) -> dict[str, Any]:
    """Scores a model and oracles on whole tracks, as BandIt's Tables 1 and 2.

    Each track is separated as `separate` does it and scored over its whole
    length at its own rate; oracles mask the whole track at once. Targets are
    the track's stems, or their sum for `"mne"` (music + effects).

    Writes to `output_dir`:

    - `config.json`: settings, a checksum of the weights, versions.
    - `tracks/<name>.json`: the scores of a track, as soon as it is done.
    - `summary.json`: mean and median over tracks.
    - `results.md`: the same as tables, with the paper's numbers in rows of
      their own where it reports this data, architecture and loss.
    - `plots/<name>.png`: a box plot per stem, if matplotlib is installed.

    Called again with the same settings, it continues: tracks that are done
    are kept if their audio is the same. Settings are all that scores depend
    on, the weights too; not `batch_size`, `num_workers`, engine or tracks.

    Args:
        separator: `AudioSeparator`.
        tracks: list of `keras_bandit.data.track.Track` with names that
            differ.
        output_dir: path, made if it does not exist.
        stems: list of str. The model's stems to compute; `None`: all.
        composites: `{name: (stem, stem, …)}`, sums of the model's outputs
            that are scored as stems are, but do not count in averages:
            `{"mne": ("music", "effects")}`.
        hop_seconds: float. From chunk to chunk; `None`: the authors' 0.5, at
            most `chunk_seconds`.
        oracles: list of str, of `"mixture"` (the mixture itself) and
            `ORACLES`.
        metrics: list of str, of `METRICS`.
        num_workers: int. Threads that compute oracles and scores while the
            model goes on with the next track. 0: one after the other.
        progress: bool. Whether to show a bar on standard error.
        model_name: str. The model's name in tables.
        dataset, split: str, such as `"dnr/v2_paths/1.0.0"` and `"test"`. They
            are recorded, and decide which numbers of the paper are shown.
        report: callable. Takes one line for each track that failed; `None`
            warns.
        chunk_seconds, batch_size, engine, precision, mixture_consistency: as
            `separate` takes them; all but `batch_size` and engine are settings.

    Returns:
        dict of `summary.json`: `"mean"`, `"median"` and `"defined"` (number
        of tracks), each `{row: {score: {name: float}}}` with `"average"`,
        NaN where nothing is defined; `"num_tracks"`; `"failed"`, `{name of a
        track that could not be read or scored: why}`. If all failed, it has
        only the last two. Rows are the oracles and `"model"`.

    Raises:
        ValueError: if an argument is not as described, or `output_dir` holds
            an evaluation with other settings or of other audio.
        ImportError: if museval or an engine is wanted and not installed.
        OSError: if `output_dir` cannot be written.
    """
    tracks = list(tracks)
    if report is None:
        report = functools.partial(
            warnings.warn, category=RuntimeWarning, stacklevel=2
        )
    batch_size = check_whole("batch_size", batch_size, 1, MAX_BATCH_SIZE)
    num_workers = check_whole("num_workers", num_workers, 0)
    plan = make_plan(separator.stems, stems, composites, oracles, metrics)
    _check_tracks(tracks, plan)
    if chunk_seconds is None:
        chunk_seconds = separator.chunk_seconds
    crossfade = getattr(separator, "crossfade", "hann")
    if hop_seconds is None and crossfade == "hann":
        hop_seconds = min(AUTHORS_HOP_SECONDS, chunk_seconds)
    _, hop = chunk_and_hop(separator, chunk_seconds, hop_seconds)
    if hop_seconds is None:
        hop_seconds = hop / separator.sample_rate
    if mixture_consistency:
        check_adds_up(separator.stems)
    else:
        needed = [s for s in separator.stems if stem_name(s) in plan.computed]
        if needed != list(separator.stems):
            separator = separator.with_stems(needed)
    running = with_engine(separator, engine, precision)
    settings = {
        "model": describe_model(separator),
        "dataset": dataset,
        "split": split,
        "stems": plan.stems,
        "composites": plan.composites,
        "chunk_seconds": chunk_seconds,
        "hop_seconds": hop_seconds,
        "precision": precision,
        "mixture_consistency": mixture_consistency,
        "oracles": plan.oracles,
        "metrics": plan.metrics,
    }
    engine = getattr(running, "engine", "keras")
    results = Results(output_dir, settings, versions_of(engine))

    kept = {x.name: results.read(x, plan.read_in(x)) for x in tracks}
    done = {name: scores for name, scores in kept.items() if scores}
    waiting = [track for track in tracks if track.name not in done]
    failed = {}

    def estimate(track):
        bar.set_postfix_str(track.name)
        outputs = separate(
            running,
            read_mixture(track),
            track.sample_rate,
            chunk_seconds=chunk_seconds,
            hop_seconds=hop_seconds,
            batch_size=batch_size,
            mixture_consistency=mixture_consistency,
        )
        return estimates_of(outputs, plan)

    bar = tqdm(
        total=len(tracks),
        initial=len(done),
        unit="track",
        disable=not progress,
        dynamic_ncols=True,
    )
    with bar:
        for track, scores, error in score_all(
            waiting, estimate, plan, num_workers
        ):
            if error is None:
                done[track.name] = results.write(
                    track, plan.read_in(track), scores
                )
            else:
                failed[track.name] = one_line(error)
                with tqdm.external_write_mode(file=sys.stderr):
                    report(f"track {track.name}: {one_line(error)}")
            bar.update()

    summary = {"num_tracks": len(done), "failed": failed}
    if done:
        found = [track for track in tracks if track.name in done]
        scores = [done[track.name] for track in found]
        summary |= summarize(scores, plan)
        write_results(
            results, summary, scores, found, plan, separator, model_name
        )
    return summary


def _check_tracks(tracks, plan):
    names = [track.name for track in tracks]
    if not tracks:
        raise ValueError("tracks must be at least one; got none")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"tracks must have names that differ; got {twice}")
    for track in tracks:
        missing = set(plan.read_in(track)) - set(track.stems)
        if missing:
            raise ValueError(
                f"track {track.name} has no {', '.join(sorted(missing))}; it "
                f"has {', '.join(track.stems)}"
            )
