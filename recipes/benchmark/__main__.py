"""Time models on every backend, engine and precision, beside the authors' code.

Paper: Watcharasupat et al. 2023, arXiv:2309.02539, whose Table 1 counts 364 G
    multiply-adds for 6 s of Music 64.
Command: python recipes/benchmark --output RUN
    (--reference DIR,…: in turns with checkouts of the authors' code, github.com/
    karnwatcharasupat/bandit, facebookresearch/demucs, sigsep/open-unmix-pytorch,
    merlresearch/cocktail-fork-separation, of whose dependencies PyTorch is
    enough; --device gpu; --tasks, --presets, --backends, … choose: --help)
Hardware: any CPU with 16 GB for Music 64 (training at batch 2), or one GPU;
    for pipeline 4 GB of disk and as much page cache.
Time: see docs/performance.md; most of it is the whole file at a hop of 0.5 s.
Expected score: docs/performance.md has the tables of a dated run.

Each case has processes of its own, one per side, which take turns in the same
minutes, each idle while the other runs. Results are written after every case,
to benchmark.json and benchmark.md; a case that fails or is interrupted says so.
"""

import argparse
import contextlib
import datetime
import itertools
import signal
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from authors import find_checkouts
from options import add_options
from report import (
    case_name,
    commit,
    compare,
    machine,
    markdown,
    summarize,
    write,
)
from sides import CaseError, Side, snr_db

from keras_bandit.models.presets import PRESETS

CONFIG = {
    "tasks": ["inference", "training", "separate", "pipeline", "startup"],
    "reference": None,
    "device": "cpu",
    "presets": ["bandit_musical64"],
    "backends": ["tensorflow", "jax", "torch"],
    # Other engines than Keras run on the first backend alone.
    "engines": ["keras"],
    "precisions": ["float32"],
    "batches": [1],
    "training_batches": [2],
    "chunk_seconds": 6.0,
    "turns": 5,
    # A whole file at the authors' hop takes minutes: one turn.
    "file_seconds": 60.0,
    # The first is the authors', with which the others are compared.
    "hops": [0.5, 1.5, 3.0, 5.0],
    # "highest" is float32 throughout, as equal outputs need it; the authors'
    # scripts set "medium".
    "reference_matmul": "highest",
    # Rows of the matrix product that speed is compared with; 8192 on a GPU.
    "matmul_size": 2048,
    # Recordings that `memory` separates with `bandit_demo`; `startup`: 10 s.
    "memory_minutes": [1.0, 5.0, 20.0],
    # For pipeline: tracks like those of DnR, crops of four stems.
    "releases": ["v2", "v3"],
    "pipeline_tracks": 24,
    "track_seconds": 60.0,
    "crop_seconds": 6.0,
    "pipeline_batches": 40,
    "limit_minutes": 60.0,
}
CHOICES = {
    "tasks": [*CONFIG["tasks"], "memory"],
    "device": ["cpu", "gpu"],
    "backends": CONFIG["backends"],
    "precisions": ["float32", "bfloat16", "float16"],
    "releases": CONFIG["releases"],
    "reference_matmul": ["highest", "high", "medium"],
}

# Least agreement of two sides with the same weights and inputs, in dB. Float32
# rounding leaves more than 90, bfloat16 about 40, wrong weights less than 10.
LEAST_AGREEMENT_DB = {"float32": 60.0, "bfloat16": 20.0, "float16": 20.0}

# The same after training steps. Keras's Adam adds epsilon to the second moment
# before its bias is corrected, PyTorch's after: small gradients move less in the
# first steps. After 5 steps losses agreed to 58 dB; wrong gradients part at once.
LEAST_TRAINED_AGREEMENT_DB = 20.0


BANDIT = "BanditAudioSeparator"


def plan(config):
    """All cases, each a dict, in the order in which they run.

    `config["reference"]` is that of `find_checkouts`, or `None`.
    """
    engines = [
        {"engine": engine, "backend": backend}
        for engine in config["engines"]
        for backend in config["backends"][: None if engine == "keras" else 1]
    ]
    for task in config["tasks"]:
        first = {"task": task, "backend": config["backends"][0]}
        if task == "pipeline":
            yield first
        elif task in ("startup", "memory"):
            lengths = [60 * x for x in config["memory_minutes"]]
            if task == "startup":
                lengths = [10.0]
                yield {**first, "command": "--help"}
            same = {"task": task, "command": "separate"}
            same["preset"] = "bandit_demo"
            for engine, seconds in itertools.product(engines, lengths):
                yield {**same, **engine, "seconds_of_audio": seconds}
        else:
            yield from plan_models(task, config, engines)


def plan_models(task, config, engines):
    """Cases of a task that runs a model."""
    batches = config["batches"] if task == "inference" else [1]
    if task == "training":
        batches = config["training_batches"]
        engines = [x for x in engines if x["engine"] == "keras"]
    for preset, batch, precision, engine in itertools.product(
        config["presets"], batches, config["precisions"], engines
    ):
        known = PRESETS.get(preset)
        new = known is not None and known.weights is None
        theirs = new and (config["reference"] or {}).get(known.model)
        if theirs and task == "separate" and known.model != BANDIT:
            theirs = None  # BandIt's overlap-add is of its authors alone
        yield {
            "task": task,
            "preset": preset,
            **engine,
            "precision": precision,
            "batch": batch,
            "trained": not new,
            "reference": theirs or None,
        }


def agreement_db(expected, found, least):
    """Smallest SNR of a stem, in dB, which must not be below `least`."""
    smallest = min(snr_db(expected[stem], found[stem]) for stem in expected)
    if not smallest >= least:
        raise CaseError(
            f"outputs differ: {smallest:.1f} dB, where there should be at "
            f"least {least} dB"
        )
    return min(smallest, 300.0)  # JSON has no infinity


def run_model(case, config, known, scratch, logs):
    """Runs the sides of a case in turns; returns what was measured.

    `known` are results of earlier cases: outputs to agree with, and what the
    authors' whole file took, which runs once per preset.
    """
    whole_file = case["task"] == "separate"
    hops = config["hops"] if whole_file else [None]
    of_file = "whole file", case["preset"]
    sides = ["ours"]
    if case["reference"] and not (whole_file and of_file in known):
        sides.insert(0, "theirs")  # first: it makes the weights
    weights = scratch / f"{Path(case['preset']).name}.npz"
    settings = {**config, **case, "weights": str(weights)}
    least = LEAST_AGREEMENT_DB[case["precision"]]
    outputs_of = case["preset"], case["task"], case["batch"]

    def agree(outputs, least):
        """With the authors, else with the first case that Keras computes."""
        if "theirs" in outputs:
            known[outputs_of] = outputs["theirs"]
        elif outputs_of not in known:
            if (case["precision"], case["engine"]) == ("float32", "keras"):
                known[outputs_of] = outputs["ours"]
            return None
        return agreement_db(known[outputs_of], outputs["ours"], least)

    result = {side: {} for side in sides}
    times, quality, outputs, processes = {}, {}, {}, {}
    with contextlib.ExitStack() as stack:
        for side in sides:
            name = case_name(case).replace("/", "_")
            processes[side] = Side(settings, side, logs / f"{name}, {side}.txt")
            stack.callback(processes[side].close)
            first = processes[side].ask()
            result[side]["first_seconds"] = first["seconds"]
            outputs[side] = first["outputs"]
        if not whole_file:
            result["agreement_db"] = agree(outputs, least)
        calls = [(side, hops[0]) for side in reversed(sides)]
        calls += [("ours", hop) for hop in hops[1:]]
        for _ in range(1 if whole_file else config["turns"]):
            for side, hop in calls:
                answer = processes[side].ask("time", hop)
                times.setdefault((side, hop), []).append(answer["seconds"])
                quality[side, hop] = answer.get("snr_db")
                if hop == hops[0]:
                    outputs[side] = answer["outputs"]
                    if (side, whole_file) == ("theirs", True):
                        # It takes longest, and ours may still fail.
                        result[side] |= summarize(times[side, hop])
                        known[of_file] = result[side]
        if whole_file:
            result["agreement_db"] = agree(outputs, least)
        elif "theirs" in sides and case["task"] == "training":
            # The last loss: what gradients and optimizer made of the weights.
            result["trained_agreement_db"] = agree(
                outputs, LEAST_TRAINED_AGREEMENT_DB
            )
        for side in sides:
            result[side] |= processes[side].ask("facts")
            result[side] |= summarize(times[side, hops[0]])
    if whole_file and case["reference"]:
        result["theirs"] = known[of_file]
    ours, theirs = result["ours"], result.get("theirs")
    if theirs:
        result |= compare(ours["seconds"], theirs["seconds"])
    if case["task"] == "inference" and "multiply_adds" in ours:
        rate = case["batch"] * ours["multiply_adds"] / ours["median_seconds"]
        ours["matmul_share"] = rate / ours["matmul_rate"]
    if whole_file:
        result["hops"] = []
        for hop in hops:
            facts = {"hop_seconds": hop, **summarize(times["ours", hop])}
            seconds = facts["median_seconds"]
            facts["real_time_factor"] = seconds / config["file_seconds"]
            if case["trained"]:  # else it says nothing
                facts["snr_db"] = quality["ours", hop]
                lost = quality["ours", hops[0]] - facts["snr_db"]
                facts["snr_lost_db"] = lost
            if theirs:
                facts |= compare(facts["seconds"], theirs["seconds"])
            result["hops"].append(facts)
    return result


def run_case(case, config, known, scratch, logs):
    """Measures one case."""
    if "engine" in case and "command" not in case:
        return run_model(case, config, known, scratch, logs)
    side = "command" if "command" in case else "pipeline"
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        settings = {**config, **case, "scratch": folder}
        process = Side(settings, side, logs / f"{case_name(case)}.txt")
        with contextlib.closing(process):
            if side == "pipeline":
                return {"crops": process.ask("crops")}
            # Of memory the time does not matter.
            turns = 1 if case["task"] == "memory" else config["turns"]
            times = [process.ask()["seconds"] for _ in range(turns)]
            return {**summarize(times), **process.ask("facts")}


def run_all(config, output):
    """Runs the cases; returns the report, written after each.

    An interrupted case and those after it stay in the report without numbers.
    """
    reference = config["reference"] or {}
    report = {
        "format": 4,
        "date": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "commit": commit(Path(__file__).parents[2]),
        "reference_commits": {x: commit(x) for x in reference.values()},
        "machine": machine(),
        "config": config,
        "results": [{**case, "status": "not run"} for case in plan(config)],
    }
    known, logs = {}, output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder), logs
        for result in report["results"]:
            print(case_name(result), flush=True)
            try:
                found = run_case(dict(result), config, known, *where)
                result |= {**found, "status": "done"}
            except Exception as error:
                result |= {"status": "failed", "error": str(error)}
                print(f"  failed: {error}", flush=True)
                if not isinstance(error, CaseError):
                    traceback.print_exc()
            except KeyboardInterrupt:
                result["status"] = "interrupted"
                return report
            finally:
                write(report, output)
    return report


def main(argv=None, config=CONFIG):
    """Runs the benchmark; returns 1 if a case failed, 130 if interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    add_options(parser, config, CHOICES)
    config = vars(parser.parse_args(argv))
    output = config.pop("output")
    if config["reference"]:
        try:
            config["reference"] = find_checkouts(config["reference"].split(","))
        except ValueError as error:
            parser.error(str(error))
    report = run_all(config, output)
    print(markdown(report))
    statuses = {result["status"] for result in report["results"]}
    if "interrupted" in statuses:
        return 130
    return 1 if "failed" in statuses else 0


if __name__ == "__main__":
    # Ended like Ctrl-C: what is done is kept, and processes are closed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
