"""Time many films on Ray beside `separate`: × real time, for each processor.

Command: python recipes/benchmark/cluster.py --preset bandit_demo
Hardware: Linux with two processors or more that nothing else uses.
Time: about four times --films × --seconds / the speed of `separate`.
Expected: docs/cluster.md; a processor does at least 90 % of what it does alone.

Films are noise in stereo: what a model computes does not depend on its input.
Loading models is not counted. Each case has the processors that it names and no
others, models have one thread each.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

# (name, processors, Ray nodes; 0: `separate_file` in this process)
CASES = [
    ("alone", 1, 0),
    ("1 node of 1", 1, 1),
    ("1 node of 2", 2, 1),
    ("2 nodes of 1", 2, 2),
]
RATE = 44_100


def load(preset, engine):
    from keras_bandit.cli.bulk import load_model

    arguments = {"preset": preset, "engine": engine, "precision": "float32"}
    arguments |= {"engine_cache": None, "backend": None}
    return load_model(arguments, os.environ.get("KERAS_BACKEND"))


def alone(args, films):
    """Seconds of `separate_file` for the films, one after the other."""
    from keras_bandit.inference.files import separate_file

    separator = load(args.preset, args.engine)
    began = time.perf_counter()
    for film in films:
        separate_file(film.source, Path("alone", film.name), separator)
    return time.perf_counter() - began


def on_ray(args, films, processors, nodes):
    """Seconds of `Bulk` for the films, from the first one's begin."""
    from ray.cluster_utils import Cluster

    from keras_bandit.bulk import run
    from keras_bandit.bulk.films import Plan

    plan = Plan(os.path.abspath("ray"), {}, {}, os.path.abspath("scratch"))
    node = {"num_cpus": processors // nodes, "num_gpus": 0}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(nodes - 1):
        cluster.add_node(**node)
    with run.connected(cluster.address):
        loader = functools.partial(load, args.preset, args.engine)
        bulk, began, reasons = run.Bulk(films, plan, loader), None, []
        for result in bulk.results():
            if began is None and bulk.running:
                began = time.perf_counter()
            reasons += [result.reason] if result and result.reason else []
        seconds = time.perf_counter() - began
    cluster.shutdown()
    if reasons:
        raise RuntimeError(reasons[0])
    return seconds


def run_case(args):
    """A case, in a process of its own: prints its seconds."""
    from keras_bandit.bulk.manifest import Film

    name, processors, nodes = CASES[args.case]
    os.environ["KERAS_BANDIT_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processors])
    rng = np.random.default_rng(0)
    films = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for n in range(args.films):
            audio = rng.uniform(-0.3, 0.3, (round(args.seconds * RATE), 2))
            soundfile.write(f"{n}.wav", audio, RATE, subtype="PCM_16")
            films.append(Film(os.path.abspath(f"{n}.wav"), str(n)))
        if nodes:
            seconds = on_ray(args, films, processors, nodes)
        else:
            seconds = alone(args, films)
        os.chdir("/")
    speed = args.films * args.seconds / seconds / processors
    print(
        json.dumps({"case": name, "seconds": seconds, "per_processor": speed})
    )


def main(argv=None):
    """Runs the cases, each in a process; prints a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", default="bandit_demo")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--films", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.case is not None:
        run_case(args)
        return
    first = None
    for case, (name, *_) in enumerate(CASES):
        command = [sys.executable, __file__, "--case", str(case)]
        for option in ("preset", "engine", "films", "seconds"):
            command += [f"--{option}", str(getattr(args, option))]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        speed = found["per_processor"]
        first = first or speed
        print(
            f"{name:13} {found['seconds']:7.1f} s, {speed:6.2f} x real time "
            f"for each processor, {speed / first:4.0%} of one alone",
            flush=True,
        )


if __name__ == "__main__":
    main()
