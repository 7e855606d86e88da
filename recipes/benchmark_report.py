"""What `benchmark.py` writes: the machine, what follows from times, tables."""

import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
from pathlib import Path

PACKAGES = (
    "keras",
    "keras-hub",
    "tensorflow",
    "jax",
    "torch",
    "openvino",
    "onnxruntime",
    "numpy",
    "grain",
)

CPU_FLAGS = r"avx2|avx512f|avx512_bf16|avx512_vnni|amx_(tile|bf16|int8)|asimd"


def versions():
    """Versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in ("keras-bandit", *PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def commit(folder):
    """Commit of a checkout, with `+` if files are changed, or `None`."""
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty=+"]
    done = subprocess.run(
        [*git, "--match=", "--abbrev=12"], capture_output=True, text=True
    )
    return done.stdout.strip() or None


def machine():
    """Processor, memory and how busy they are; `None` for what is unknown."""
    facts = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": platform.processor() or None,
        "cpu_flags": None,
        "cores": os.cpu_count(),
        "memory_bytes": None,
        "load_average": list(os.getloadavg()),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    if hasattr(os, "sched_getaffinity"):
        facts["cores"] = len(os.sched_getaffinity(0))
    if Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text()
        name = re.search(r"^model name\s*: (.*)", text, re.MULTILINE)
        facts["cpu"] = name[1] if name else facts["cpu"]
        words = re.search(r"^(?:flags|Features)\s*: (.*)", text, re.MULTILINE)
        words = words[1].split() if words else []
        facts["cpu_flags"] = [w for w in words if re.fullmatch(CPU_FLAGS, w)]
    if Path("/proc/meminfo").exists():
        total = re.search(
            r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text()
        )
        facts["memory_bytes"] = 1024 * int(total[1])
    return facts


def summarize(times):
    """Median and spread of seconds."""
    return {
        "seconds": times,
        "median_seconds": statistics.median(times),
        "min_seconds": min(times),
        "max_seconds": max(times),
    }


def compare(ours, theirs):
    """Ratio of medians, above 1 if ours is faster, and that of each turn."""
    each = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {
        "ratio": statistics.median(theirs) / statistics.median(ours),
        "ratio_range": [min(each), max(each)],
    }


def rates(case, config, facts):
    """What follows from the median of a model's calls."""
    seconds = facts["median_seconds"]
    if case["task"] == "training":
        return {"steps_per_second": 1 / seconds}
    if case["task"] == "separate":
        return {"real_time_factor": seconds / config["file_seconds"]}
    return {
        "seconds_per_chunk": seconds / case["batch"],
        "chunks_per_second": case["batch"] / seconds,
        "matmul_share": facts["multiply_adds"]
        * case["batch"]
        / seconds
        / facts["matmul_rate"],
    }


def whole_file_facts(hop, first_hop, case, config, times, quality):
    """One hop of a whole file, beside the first hop and the authors' code.

    The SNR is that of the estimates against the clip's true stems, which says
    something only of trained weights.
    """
    facts = {"hop_seconds": hop, **summarize(times["ours", hop])}
    facts["real_time_factor"] = facts["median_seconds"] / config["file_seconds"]
    if case["trained"]:
        facts["snr_db"] = quality["ours", hop]
        facts["snr_lost_db"] = quality["ours", first_hop] - facts["snr_db"]
    if ("theirs", first_hop) in times:
        facts |= compare(times["ours", hop], times["theirs", first_hop])
    return facts


def number(value, digits=3):
    """Three significant digits, without an exponent; nothing for `None`."""
    if value is None:
        return ""
    if isinstance(value, str | int):
        return str(value)
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text else text


def gigabytes(value):
    return None if value is None else value / 1e9


def spread(facts, key, scale=1.0):
    """`median (smallest-largest)` of seconds times a scale."""
    if not facts:
        return ""
    low, high = facts["min_seconds"] * scale, facts["max_seconds"] * scale
    return f"{number(facts[key])} ({number(low)}-{number(high)})"


def ratio(facts):
    """`ratio (smallest-largest)` of theirs to ours."""
    if "ratio" not in facts:
        return ""
    low, high = facts["ratio_range"]
    return f"{number(facts['ratio'])} ({number(low)}-{number(high)})"


def model_columns(result):
    return {
        key: result[key]
        for key in ("preset", "backend", "engine", "precision", "batch")
    }


def inference_rows(result):
    ours, theirs = result["ours"], result.get("theirs")
    scale = 1 / result["batch"]
    yield {
        **model_columns(result),
        "build / s": number(ours["build_seconds"]),
        "first call / s": number(ours["first_seconds"]),
        "s per chunk": spread(ours, "seconds_per_chunk", scale),
        "chunks/s": number(ours["chunks_per_second"]),
        "peak / GB": number(gigabytes(ours["peak_bytes"])),
        "of matmul rate": f"{100 * ours['matmul_share']:.0f} %",
        "agreement / dB": number(result["agreement_db"]),
        "authors' s per chunk": spread(theirs, "seconds_per_chunk", scale),
        "authors' peak / GB": number(
            gigabytes(theirs["peak_bytes"]) if theirs else None
        ),
        "times as fast": ratio(result),
    }


def training_rows(result):
    ours, theirs = result["ours"], result.get("theirs")
    yield {
        **model_columns(result),
        "first step / s": number(ours["first_seconds"]),
        "s per step": spread(ours, "median_seconds"),
        "steps/s": number(ours["steps_per_second"]),
        "peak / GB": number(gigabytes(ours["peak_bytes"])),
        "agreement / dB": number(result["agreement_db"]),
        "after the steps / dB": number(result.get("trained_agreement_db")),
        "authors' s per step": spread(theirs, "median_seconds"),
        "authors' peak / GB": number(
            gigabytes(theirs["peak_bytes"]) if theirs else None
        ),
        "times as fast": ratio(result),
    }


def separate_rows(result):
    theirs = result.get("theirs")
    for hop in result["hops"]:
        yield {
            **model_columns(result),
            "hop / s": number(hop["hop_seconds"]),
            "s": number(hop["median_seconds"]),
            "s per s of audio": number(hop["real_time_factor"]),
            "SNR lost / dB": number(hop.get("snr_lost_db")),
            "peak / GB": number(gigabytes(result["ours"]["peak_bytes"])),
            "agreement / dB": number(result["agreement_db"]),
            "authors' s, first hop": number(
                theirs["median_seconds"] if theirs else None
            ),
            "times as fast": ratio(hop),
        }


def pipeline_rows(result):
    for source, row in result["crops"].items():
        yield {
            "source": source,
            "crops/s and core": number(row["crops_per_second_and_core"]),
            "ms per read": number(row["read_ms"]),
        }


def command_rows(result):
    yield {
        "command": result["command"],
        "preset": result.get("preset", ""),
        "backend": result["backend"] if "preset" in result else "",
        "engine": result.get("engine", ""),
        "audio / s": number(result.get("seconds_of_audio")),
        "s": spread(result, "median_seconds"),
        "peak / GB": number(gigabytes(result.get("peak_bytes"))),
    }


ROWS = {
    "inference": inference_rows,
    "training": training_rows,
    "separate": separate_rows,
    "pipeline": pipeline_rows,
    "startup": command_rows,
    "memory": command_rows,
}


def table(rows):
    """Lines of a Markdown table; columns that are empty throughout go."""
    names = [name for name in rows[0] if any(row[name] != "" for row in rows)]
    yield f"| {' | '.join(names)} |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield f"| {' | '.join(str(row[name]) for name in names)} |"


def case_name(result):
    """Words that tell a case from the others."""
    values = [
        f"{key} {result[key]}"
        for key in (
            "command",
            "preset",
            "backend",
            "engine",
            "precision",
            "batch",
            "seconds_of_audio",
        )
        if key in result
    ]
    return f"{result['task']}: {', '.join(values)}"


def markdown(report):
    """The report as Markdown, str."""
    about = report["machine"]
    memory = about["memory_bytes"]
    lines = [
        f"# Benchmark of {report['date']}",
        "",
        f"{about['cpu']} ({' '.join(about['cpu_flags'] or [])}), "
        f"{about['cores']} cores, "
        f"{number(memory / 2**30 if memory else None)} GiB, "
        f"{about['system']}, load {about['load_average'][0]:.1f} at the start; "
        + ", ".join(f"{k} {v}" for k, v in report["versions"].items() if v)
        + f"; commit {report['commit']}",
        "",
        f"Chunks of {report['config']['chunk_seconds']:g} s; medians, smallest "
        "and largest in parentheses.",
    ]
    if report["reference"]:
        lines += ["", f"Authors' code at {report['reference']['commit']}."]
    for task, rows_of in ROWS.items():
        done = [
            result
            for result in report["results"]
            if result["task"] == task and result["status"] == "done"
        ]
        rows = [row for result in done for row in rows_of(result)]
        if rows:
            lines += ["", f"## {task}", "", *table(rows)]
    missing = [r for r in report["results"] if r["status"] != "done"]
    if missing:
        lines += ["", "## not measured", ""]
        lines += [
            f"- {case_name(r)}: {r['status']}"
            + (f": {r['error']}" if "error" in r else "")
            for r in missing
        ]
    return "\n".join(lines) + "\n"


def write(report, folder):
    """Replaces both files of results, each at once."""
    for name, text in (
        ("benchmark.json", json.dumps(report, indent=1) + "\n"),
        ("benchmark.md", markdown(report)),
    ):
        partial = folder / f".{name}.tmp"
        partial.write_text(text)
        partial.replace(folder / name)
