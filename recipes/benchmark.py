"""Time models on every backend, engine and precision, beside the authors' code.

Paper: Watcharasupat et al. 2023, arXiv:2309.02539, whose Table 1 counts 364 G
    multiply-adds for 6 s of Music 64.
Command: python recipes/benchmark.py --output RUN
    (--reference DIR: in turns with a checkout of the authors' code, github.com/
    karnwatcharasupat/bandit, of whose dependencies PyTorch is enough; --device
    gpu; --tasks, --presets, --backends, … choose: --help)
Hardware: any CPU with 16 GB for Music 64 (training at batch 2), or one GPU.
Time: see docs/performance.md; most of it is the whole file at a hop of 0.5 s.
Expected score: docs/performance.md has the tables of a dated run.

Each case has processes of its own, one per side (`benchmark_sides.py`): the
backend is a property of the process, and so is peak memory. Two sides take
turns in the same minutes, each idle while the other runs. Results are written
after every case, to benchmark.json and benchmark.md; a case that fails or is
interrupted says so.
"""

import argparse
import contextlib
import datetime
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import numpy as np
from benchmark_report import (
    case_name,
    commit,
    compare,
    machine,
    rates,
    summarize,
    versions,
    whole_file_facts,
    write,
)
from benchmark_sides import DTYPES, snr_db

from keras_bandit.models.presets import PRESETS

TASKS = ("inference", "training", "separate", "pipeline", "startup", "memory")

CONFIG = {
    "device": "cpu",
    "tasks": TASKS[:-1],
    "presets": ["bandit_musical64"],
    "backends": ["tensorflow", "jax", "torch"],
    "engines": ["keras"],
    "precisions": ["float32"],
    "batches": [1],
    "training_batches": [2],
    "chunk_seconds": 6.0,
    "turns": 5,
    # A whole file at the authors' hop takes minutes: one turn.
    "file_turns": 1,
    "file_seconds": 60.0,
    "file_batch": 2,
    # The first is the authors', with which the others are compared.
    "hops": [0.5, 1.5, 3.0],
    # That of the authors' configs/inference/default.yaml.
    "reference_batch": 24,
    # "highest" is float32 throughout, as equal outputs need it; the authors'
    # scripts set "medium".
    "reference_matmul": "highest",
    # For the tasks startup and memory: the one with trained weights.
    "command_preset": "bandit_demo",
    "command_seconds": 10,
    "memory_minutes": [1, 5, 20],
    "pipeline_tracks": 24,
    "limit_minutes": 60.0,
}

# Least agreement of two sides with the same weights and inputs, in dB. Float32
# rounding leaves more than 90, bfloat16 about 40, wrong weights less than 10.
LEAST_AGREEMENT_DB = {"float32": 60.0, "bfloat16": 20.0, "float16": 20.0}

# The same after training steps. Keras's Adam adds epsilon to the second moment
# before its bias is corrected, PyTorch's after: small gradients move less in the
# first steps. After 5 steps losses agreed to 58 dB; wrong gradients part at once.
LEAST_TRAINED_AGREEMENT_DB = 20.0

REFERENCE_FILE = Path("core", "model", "bsrnn", "core.py")


class CaseError(Exception):
    """Why one case could not be measured; the others go on."""


# --------------------------------------------------------------------------
# Processes
# --------------------------------------------------------------------------


def environment(backend, device):
    """Variables of a process, without a cache that hides compilation."""
    variables = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Memory in use, not memory reserved.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    variables.pop("JAX_COMPILATION_CACHE_DIR", None)
    if device == "cpu":
        variables |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    return variables


def last_line(path):
    """Last line that a process logged: with Python, the exception."""
    lines = path.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "no output")


class Side:
    """The process of one side of a case; `ask` runs it and waits."""

    def __init__(self, case, side, scratch, log):
        self.log = log
        self.limit = 60 * case["limit_minutes"]
        self.outputs = scratch / f"outputs_{side}.npz"
        case = {**case, "side": side, "outputs": str(self.outputs)}
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, Path(__file__).parent / "benchmark_sides.py"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(case["backend"], case["device"]),
                # Ctrl-C ends the case, and `close` its processes.
                start_new_session=True,
            )
        try:
            self.ask(case)
        except BaseException:
            self.close()
            raise

    def ask(self, request):
        """Sends a request and returns the answer, or raises `CaseError`."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        ready = select.select([self.process.stdout], [], [], self.limit)[0]
        if not ready:
            raise CaseError(f"no answer after {self.limit:g} s")
        answer = self.process.stdout.readline()
        if not answer:
            self.process.wait()
            raise CaseError(f"{last_line(self.log)} (see {self.log})")
        return json.loads(answer)

    def close(self):
        self.process.kill()
        self.process.communicate()


def run_command(command, backend, case, log):
    """Runs a command to its end.

    Returns:
        wall seconds from start to end, and bytes of its largest resident
        size.

    Raises:
        CaseError: if it fails, or takes longer than the limit.
    """
    before = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env=environment(backend, case["device"]),
            start_new_session=True,
        )
    timer = threading.Timer(60 * case["limit_minutes"], process.kill)
    timer.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        timer.cancel()
    seconds = time.perf_counter() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == -signal.SIGKILL:
        raise CaseError("killed: out of time or memory")
    if process.returncode:
        raise CaseError(f"{last_line(log)} (see {log})")
    # At least what this process had when it started the command.
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit


# --------------------------------------------------------------------------
# Cases
# --------------------------------------------------------------------------


def engines_of(config):
    """`(engine, backend)`: other engines than Keras on one backend alone."""
    for engine in config["engines"]:
        keras_engine = engine == "keras"
        for backend in config["backends"][: None if keras_engine else 1]:
            yield engine, backend


def plan_models(task, config):
    """Cases of the tasks that run a model."""
    key = "training_batches" if task == "training" else "batches"
    batches = [1] if task == "separate" else config[key]
    for preset in config["presets"]:
        entry = PRESETS.get(preset)
        trained = entry is None or entry["weights"] is not None
        has_reference = not trained and entry["class"].startswith("Bandit")
        for batch in batches:
            for precision in config["precisions"]:
                for engine, backend in engines_of(config):
                    if task == "training" and engine != "keras":
                        continue
                    yield {
                        "task": task,
                        "preset": preset,
                        "backend": backend,
                        "engine": engine,
                        "precision": precision,
                        "batch": batch,
                        "trained": trained,
                        "reference": config["reference"]
                        if has_reference
                        else None,
                    }


def plan_commands(task, config):
    """Cases of the tasks that run a command."""
    if task == "pipeline":
        yield {"task": task, "backend": config["backends"][0]}
        return
    lengths = [config["command_seconds"]]
    if task == "memory":
        lengths = [60 * minutes for minutes in config["memory_minutes"]]
    else:
        backend = config["backends"][0]
        yield {"task": task, "command": "--help", "backend": backend}
    for engine, backend in engines_of(config):
        for seconds in lengths:
            yield {
                "task": task,
                "command": "separate",
                "preset": config["command_preset"],
                "backend": backend,
                "engine": engine,
                "seconds_of_audio": seconds,
            }


def plan(config):
    """All cases, each a dict, in the order in which they run."""
    cases = []
    for task in config["tasks"]:
        models = task in ("inference", "training", "separate")
        cases += (plan_models if models else plan_commands)(task, config)
    return cases


def agreement_db(case, sides, scratch, least=None):
    """Smallest SNR of a stem against the other side, with equal weights.

    Without another side, against what the first case was compared with, or
    else the first in float32 through Keras; `None` for that one.

    Raises:
        CaseError: if it is below `least`; `None`: below what rounding leaves.
    """
    least = least or LEAST_AGREEMENT_DB[case["precision"]]
    name = f"{case['preset']}-{case['task']}-{case['batch']}.npz"
    target = scratch / name.replace("/", "_")
    if "theirs" in sides:
        target.write_bytes(sides["theirs"].outputs.read_bytes())
    elif not target.exists():
        if case["precision"] == "float32" and case["engine"] == "keras":
            target.write_bytes(sides["ours"].outputs.read_bytes())
        return None
    with np.load(target) as theirs, np.load(sides["ours"].outputs) as ours:
        found = min(snr_db(theirs[stem], ours[stem]) for stem in theirs)
    if not found >= least:
        raise CaseError(
            f"outputs differ: {found:.1f} dB, where {case['precision']} "
            f"should have at least {least} dB"
        )
    return min(found, 300.0)  # JSON has no infinity


def run_model(case, config, scratch, logs):
    """Runs both sides of a case in turns; returns what was measured."""
    name = "-".join(
        str(case[key])
        for key in ("task", "preset", "backend", "engine", "precision", "batch")
    ).replace("/", "_")
    weights = f"{case['preset']}-{bool(case['reference'])}.npz"
    settings = {
        **{key: x for key, x in config.items() if key != "reference"},
        **case,
        "weights": str(scratch / weights.replace("/", "_")),
    }
    whole_file = case["task"] == "separate"
    if not whole_file:
        settings.pop("file_seconds")
    hops = config["hops"] if whole_file else [None]
    # The authors' whole file takes long: once per preset, with the first case.
    earlier = scratch / f"{Path(settings['weights']).name}-whole-file.json"
    theirs = case["reference"] and not (whole_file and earlier.exists())
    times, quality, sides, result = {}, {}, {}, {}
    with contextlib.ExitStack() as stack:
        # The authors' side first: it makes the weights.
        for side in ["theirs", "ours"] if theirs else ["ours"]:
            log = logs / f"{name}-{side}.txt"
            sides[side] = Side(settings, side, scratch, log)
            stack.callback(sides[side].close)
            answer = sides[side].ask({"hop": None})
            result[side] = {"first_seconds": answer["seconds"]}
        if not whole_file:
            result["agreement_db"] = agreement_db(settings, sides, scratch)
        calls = [
            (side, hops[0]) for side in ("ours", "theirs") if side in sides
        ]
        rest = [("ours", hop) for hop in hops[1:]]
        turns = config["file_turns" if whole_file else "turns"]
        for _ in range(turns):
            for call in calls + rest:
                answer = sides[call[0]].ask({"hop": call[1]})
                times.setdefault(call, []).append(answer["seconds"])
                quality[call] = answer.get("snr_db")
                if (
                    whole_file
                    and call[0] == "theirs"
                    and len(times[call]) == turns
                ):
                    # It takes longest, and ours may still fail.
                    facts = summarize(times[call])
                    earlier.write_text(json.dumps(result["theirs"] | facts))
                if call == calls[-1] and "agreement_db" not in result:
                    result["agreement_db"] = agreement_db(
                        settings, sides, scratch
                    )
        if theirs and case["task"] == "training":
            # The last loss: what gradients and optimizer made of the weights.
            result["trained_agreement_db"] = agreement_db(
                settings, sides, scratch, LEAST_TRAINED_AGREEMENT_DB
            )
        for side, process in sides.items():
            result[side] |= process.ask({}) | summarize(times[side, hops[0]])
    for side in sides:
        result[side] |= rates(case, config, result[side])
    if whole_file and theirs:
        earlier.write_text(json.dumps(result["theirs"]))
    elif whole_file and case["reference"]:
        result["theirs"] = json.loads(earlier.read_text())
        times["theirs", hops[0]] = result["theirs"]["seconds"]
    if "theirs" in result:
        result |= compare(times["ours", hops[0]], times["theirs", hops[0]])
    if whole_file:
        result["hops"] = [
            whole_file_facts(hop, hops[0], case, config, times, quality)
            for hop in hops
        ]
    return result


def write_clip(path, seconds):
    """A mono wav of a 10 s clip, repeated."""
    import soundfile

    from keras_bandit.data.film_clip import film_clip

    clip = sum(film_clip(10).values())[0]
    samples = np.resize(clip, round(seconds * 44100))
    soundfile.write(path, samples, 44100, "PCM_16")


def run_separate_command(case, config, scratch, logs):
    """Start-up or memory: `keras-bandit separate` as a user runs it."""
    path = scratch / f"clip_{case['seconds_of_audio']}.wav"
    if not path.exists():
        write_clip(path, case["seconds_of_audio"])
    command = [sys.executable, "-m", "keras_bandit", "separate", str(path)]
    command += ["--preset", case["preset"], "--engine", case["engine"]]
    command += ["--output", str(scratch / "separated"), "--overwrite"]
    if case["engine"] == "keras":
        command += ["--backend", case["backend"]]
    if case["task"] == "memory":  # the fewest chunks: time does not matter
        command += ["--hop-seconds", str(config["chunk_seconds"])]
    name = "-".join(
        str(case[key])
        for key in ("task", "engine", "backend", "seconds_of_audio")
    )
    log = logs / f"{name}-separate.txt"
    turns = 1 if case["task"] == "memory" else config["turns"]
    settings = {**config, **case}
    runs = [
        run_command(command, case["backend"], settings, log)
        for _ in range(turns)
    ]
    return {
        **summarize([seconds for seconds, _ in runs]),
        "peak_bytes": max(size for _, size in runs),
    }


def run_help(case, config, scratch, logs):
    """Start-up: `keras-bandit --help`."""
    command = [sys.executable, "-m", "keras_bandit", "--help"]
    log = logs / "startup-help.txt"
    settings = {**config, **case}
    runs = [
        run_command(command, case["backend"], settings, log)
        for _ in range(config["turns"])
    ]
    return summarize([seconds for seconds, _ in runs])


def run_pipeline(case, config, scratch, logs):
    """Crops per second: `benchmark_data.py`, without its fit()."""
    path = scratch / "pipeline.json"
    script = Path(__file__).parent / "benchmark_data.py"
    command = [sys.executable, str(script), "--no-fit", "--json", str(path)]
    command += ["--tracks", str(config["pipeline_tracks"])]
    log = logs / "pipeline.txt"
    run_command(command, case["backend"], {**config, **case}, log)
    return {"crops": json.loads(path.read_text())["crops"]}


def run_case(case, config, scratch, logs):
    """Measures one case; see the function of its task."""
    if case["task"] == "pipeline":
        run = run_pipeline
    elif "command" in case:
        run = run_help if case["command"] == "--help" else run_separate_command
    else:
        run = run_model
    return run(case, config, scratch, logs)


def run_all(config, folder):
    """Runs the cases in turn; returns the report, written after each.

    An interrupted case and those after it stay in the report without numbers.
    """
    reference = config["reference"]
    report = {
        "format": 1,
        "date": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        "commit": commit(Path(__file__).parent),
        "machine": machine(),
        "versions": versions(),
        "reference": {"folder": reference, "commit": commit(reference)}
        if reference
        else None,
        "config": config,
        "results": [{**case, "status": "not run"} for case in plan(config)],
    }
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for result in report["results"]:
            print(case_name(result), flush=True)
            try:
                found = run_case(dict(result), config, Path(scratch), logs)
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
                write(report, folder)
    return report


# --------------------------------------------------------------------------
# Arguments
# --------------------------------------------------------------------------


def list_of(parse, choices=None):
    """A parser of values separated by commas."""

    def parse_list(text):
        try:
            values = [parse(part.strip()) for part in text.split(",")]
        except ValueError:
            values = []
        wrong = [x for x in values if choices and x not in choices]
        if not values or wrong or any(x in ("", 0) for x in values):
            among = f" among {', '.join(choices)}" if choices else ""
            raise argparse.ArgumentTypeError(
                f"must be values{among}, separated by commas; got {text!r}"
            )
        return values

    return parse_list


def parse(argv, config):
    """The configuration with the command's arguments, and the output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--reference", metavar="DIR", help="a checkout of the authors' code"
    )
    parser.add_argument("--device", choices=["cpu", "gpu"])
    lists = {
        "tasks": list_of(str, TASKS),
        "presets": list_of(str),
        "backends": list_of(str, ("tensorflow", "jax", "torch")),
        "engines": list_of(str),
        "precisions": list_of(str, DTYPES),
        "batches": list_of(int),
        "training_batches": list_of(int),
        "hops": list_of(float),
        "memory_minutes": list_of(float),
    }
    numbers = {
        "turns": int,
        "file_turns": int,
        "file_seconds": float,
        "file_batch": int,
        "chunk_seconds": float,
        "reference_batch": int,
        "pipeline_tracks": int,
        "limit_minutes": float,
    }
    for name, kind in (lists | numbers).items():
        default = config[name]
        if name in lists:
            default = ",".join(map(str, default))
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, help=f"({default})"
        )
    parser.add_argument(
        "--reference-matmul",
        choices=["highest", "high", "medium"],
        help=f"PyTorch's float32 products ({config['reference_matmul']})",
    )
    arguments = vars(parser.parse_args(argv))
    given = {k: x for k, x in arguments.items() if x is not None}
    output = given.pop("output")
    for name in numbers:
        if given.get(name, 1) <= 0:
            parser.error(f"--{name.replace('_', '-')} must be positive")
    reference = given.setdefault("reference", None)
    if reference and not Path(reference, REFERENCE_FILE).is_file():
        parser.error(
            "--reference must be a checkout of karnwatcharasupat/bandit; got "
            f"{reference!r}, which has no {REFERENCE_FILE}"
        )
    return config | given, output


def main(argv=None, config=CONFIG):
    config, output = parse(argv, config)
    report = run_all(config, output)
    print((output / "benchmark.md").read_text())
    statuses = {result["status"] for result in report["results"]}
    if "interrupted" in statuses:
        return 130
    return 1 if "failed" in statuses else 0


if __name__ == "__main__":
    # Ended like Ctrl-C: what is done is kept, and processes are closed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
