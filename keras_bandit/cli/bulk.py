"""`keras-bandit bulk`: many films, on this machine or a cluster."""

import argparse
import contextlib
import functools
import getpass
import json
import os
import pathlib
import sys
import tempfile
import time

from keras_bandit.cli.arguments import count, path, whole
from keras_bandit.cli.backend import choose_backend
from keras_bandit.cli.console import report, say, user_errors
from keras_bandit.cli.model import load_on_engine, resolve_engine
from keras_bandit.cli.separation_options import (
    add_separation_options,
    chosen_options,
)
from keras_bandit.common.extras import require
from keras_bandit.common.files import check_writable

_SECONDS_BETWEEN_LINES = 60.0
_MOST_ROWS = 16


def _share(text):
    """Parses a number of processors or GPUs: a whole one, or part of one."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1024 or (value > 1 and value != int(value)):
        raise argparse.ArgumentTypeError(
            f"must be a whole number, or 0 to 1; got {text!r}"
        )
    return value


def add_bulk(commands):
    """Adds the command to the parsers of `build_parser`."""
    parser = commands.add_parser(
        "bulk",
        help="separate many films, on this machine or a cluster (extra ray)",
        description="Separates the films of a list, as separate does, on all "
        "processors or GPUs of this machine or of a Ray cluster. Films may be "
        "elsewhere (s3://, gs://, http://), results too. Run again, it does "
        "what is missing.",
    )
    parser.set_defaults(command=bulk_command)
    option, flag = parser.option, parser.flag
    parser.add_argument(
        "manifest",
        type=path,
        metavar="MANIFEST",
        help="text file with a path or URI a line, or a .csv with the column "
        "path and perhaps name (of the film's folder) and audio_track",
    )
    parser.add_preset()
    option(
        "--output",
        "DIR_OR_URI",
        path,
        "where a folder for each film is made",
        required=True,
    )
    option(
        "--ray-address",
        "ADDRESS",
        str,
        "cluster to join, such as auto or host:6379 (Ray is started here)",
    )
    option(
        "--gpus-per-film",
        "N",
        _share,
        "GPUs of a model: with 0.25, four share one (0.25 if there is a GPU, "
        "else 0: models compute on processors)",
    )
    option(
        "--cpus-per-film",
        "N",
        _share,
        "processors of a model, or with a GPU of what is around it: reading, "
        "resampling, writing (%(default)s)",
        default=1.0,
    )
    option(
        "--models", "N", count, "how many models (as many as there is room for)"
    )
    option(
        "--retries",
        "N",
        whole,
        "how often a film begins again whose process or machine died "
        "(%(default)s)",
        default=3,
    )
    option(
        "--scratch",
        "DIR",
        path,
        "folder of each machine for copies of films and stems that are "
        "elsewhere (keras-bandit-USER where temporary files are)",
    )
    add_separation_options(parser)
    flag(
        "--overwrite",
        "separate films anew that were separated with other settings, and "
        "replace other files",
    )
    flag("--json", "print a JSON object for each film")
    flag("--quiet", "only errors and warnings, no progress or summary")
    parser.add_backend()


_MODEL_ARGUMENTS = "preset", "engine", "precision", "engine_cache", "backend"


def load_model(arguments, keras_backend):
    """The separator that arguments of the command mean, in any process."""
    if keras_backend:
        os.environ["KERAS_BACKEND"] = keras_backend
    args = argparse.Namespace(**arguments, quiet=True)
    engine = resolve_engine(args)
    choose_backend(args.backend)
    return load_on_engine(args, engine)


def bulk_command(args):
    """Runs `keras-bandit bulk`; returns the exit status."""
    with user_errors(ImportError):
        require("ray", "ray", "keras-bandit bulk")
    from keras_bandit.bulk import run
    from keras_bandit.bulk.films import Plan
    from keras_bandit.bulk.manifest import read_manifest
    from keras_bandit.bulk.places import local_path, open_place

    with user_errors(ImportError, OSError, ValueError):
        films = read_manifest(args.manifest)
        output = local_path(args.output)
        if output is not None:
            check_writable(output)
        elif args.output.startswith(("http://", "https://")):
            raise ValueError(f"--output {args.output}: cannot be written to")
        else:
            open_place(args.output)
    model = {name: getattr(args, name) for name in _MODEL_ARGUMENTS}
    if os.path.isdir(args.preset):
        model["preset"] = os.path.abspath(args.preset)
    options = chosen_options(args)
    del options["overwrite"]
    plan = Plan(
        output=args.output if output is None else str(output),
        options=options,
        model={name: model[name] for name in _MODEL_ARGUMENTS[:3]},
        scratch=os.path.abspath(args.scratch or _scratch()),
        overwrite=args.overwrite,
    )
    reports = _Reports(args, plan, len(films))
    known = run.skip_done(films, plan)
    for result in known:
        reports.take(result)
    there = {result.film.name for result in known}
    films = [film for film in films if film.name not in there]
    try:
        if films:
            load = functools.partial(
                load_model, model, os.environ.get("KERAS_BACKEND")
            )
            with user_errors(ConnectionError, ValueError, run.NoModelError):
                _run(run, args, films, plan, load, reports)
    finally:
        reports.end()
    if not reports.done:
        return 2
    return 1 if reports.failures else 0


def _scratch():
    return pathlib.Path(
        tempfile.gettempdir(), f"keras-bandit-{getpass.getuser()}"
    )


def _run(run, args, films, plan, load, reports):
    with run.connected(args.ray_address):
        bulk = run.Bulk(
            films,
            plan,
            load,
            args.cpus_per_film,
            args.gpus_per_film,
            args.models,
            args.retries,
        )
        warned = set()
        with reports.shown() as show:
            for result in bulk.results():
                for line in set(bulk.refused) - warned:
                    warned.add(line)
                    report(f"warning: not used: {line}")
                if result:
                    reports.take(result)
                else:
                    show(bulk)


class _Reports:
    """What the user sees: results, a table or lines, failures at the end."""

    def __init__(self, args, plan, count):
        self._args, self._plan, self._count = args, plan, count
        self.done, self.skipped, self.failures = 0, 0, []
        self._began, self._seconds = time.monotonic(), 0.0

    def take(self, result):
        """Notes a `Result`, and prints it."""
        film, record = result.film, result.record
        if record is None:
            self.failures.append(result)
        else:
            self.done += 1
            self.skipped += result.skipped
            self._seconds += record["seconds"] * (not result.skipped)
        if self._args.json:
            say(json.dumps(_as_object(result, self._plan)))
        if record is None or result.skipped:
            return
        for warning in record["warnings"]:
            report(f"warning: {film.name}: {warning}")
        if not (self._args.json or self._args.quiet):
            say(
                f"{film.source}: {record['seconds']:.2f} s -> {film.name}/: "
                f"{', '.join(record['files'])}, separated in "
                f"{record['elapsed']:.1f} s"
            )

    def _line(self, under_way):
        elapsed = time.monotonic() - self._began
        seconds = self._seconds + sum(under_way.values())
        return (
            f"{self.done} of {self._count} films done, {len(self.failures)} "
            f"failed, {len(under_way)} under way; {seconds / 60:.1f} min of "
            f"sound, {seconds / elapsed:.2f} x real time"
        )

    @contextlib.contextmanager
    def shown(self):
        """Yields a function of a `Bulk` that shows how far it is."""
        if self._args.quiet:
            yield lambda bulk: None
        elif sys.stderr.isatty():
            with self._live() as show:
                yield show
        else:
            yield self._now_and_then()

    def _now_and_then(self):
        said = time.monotonic()

        def show(bulk):
            nonlocal said
            if time.monotonic() - said >= _SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                report(self._line(bulk.seconds_done()))

        return show

    @contextlib.contextmanager
    def _live(self):
        from rich.console import Console
        from rich.live import Live
        from rich.table import Table

        console = Console(stderr=True)
        with Live(console=console, auto_refresh=False, transient=True) as live:

            def show(bulk):
                under_way = bulk.seconds_done()
                table = Table("film", "min done", title=self._line(under_way))
                for name in sorted(under_way)[:_MOST_ROWS]:
                    table.add_row(name, f"{under_way[name] / 60:.1f}")
                live.update(table, refresh=True)

            yield show

    def end(self):
        """Prints which films failed, and the sum."""
        for result in self.failures:
            report(f"error: {result.film.name}: {result.reason}")
        if not self._args.quiet:
            before = f" ({self.skipped} before)" * bool(self.skipped)
            report(self._line({}).replace(" done", f" done{before}", 1))


def _as_object(result, plan):
    """What became of a film, for programs."""
    film, record = result.film, result.record
    status = "failed" if record is None else "done"
    found = {
        "source": film.source,
        "name": film.name,
        "output": f"{plan.output.rstrip('/')}/{film.name}",
        "status": "skipped" if result.skipped else status,
    }
    if record is None:
        return {**found, "reason": result.reason}
    shown = "seconds", "elapsed", "files", "warnings"
    return {**found, **{name: record[name] for name in shown}}
