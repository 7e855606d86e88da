"""What the benchmark writes: the machine, what follows from times, tables."""

import json
import os
import platform
import re
import statistics
import subprocess
from pathlib import Path

from tabulate import tabulate

from keras_bandit.common.files import write_text
from keras_bandit.common.versions import versions

PACKAGES = ("keras-bandit", "keras", "keras-hub", "tensorflow", "jax", "torch")
PACKAGES += ("openvino", "onnxruntime", "numpy", "grain", "soundfile")

CPU_FLAGS = r"avx2|avx512f|avx512_bf16|avx512_vnni|amx_(tile|bf16|int8)|asimd"


def commit(folder):
    """Commit of a checkout, with `+` if files are changed, or `None`."""
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty=+"]
    done = subprocess.run(
        [*git, "--match=", "--abbrev=12"], capture_output=True, text=True
    )
    return done.stdout.strip() or None


def machine():
    """Processor, memory, how busy they are, and versions of packages."""
    facts = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": platform.processor() or None,
        "cpu_flags": [],
        "cores": os.cpu_count(),
        "memory_gib": os.sysconf("SC_PAGE_SIZE")
        * os.sysconf("SC_PHYS_PAGES")
        / 2**30,
        "load_average": list(os.getloadavg()),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "versions": versions(*PACKAGES),
    }
    if hasattr(os, "sched_getaffinity"):
        facts["cores"] = len(os.sched_getaffinity(0))
    if Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text()
        name = re.search(r"^model name\s*: (.*)", text, re.M)
        facts["cpu"] = name[1] if name else facts["cpu"]
        words = re.search(r"^(?:flags|Features)\s*: (.*)", text, re.M)
        words = words[1].split() if words else []
        facts["cpu_flags"] = [w for w in words if re.fullmatch(CPU_FLAGS, w)]
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


def number(value, scale=1.0):
    """Three significant digits, without an exponent; nothing for `None`."""
    if value is None:
        return None
    text = f"{value * scale:.3g}"
    return f"{value * scale:.0f}" if "e+" in text else text


def spread(facts, scale=1.0):
    """`median (smallest-largest)` of seconds."""
    names = ("median_seconds", "min_seconds", "max_seconds")
    if not facts or names[0] not in facts:
        return None
    middle, low, high = (number(facts[name], scale) for name in names)
    return f"{middle} ({low}-{high})" if low != high else middle


def model_rows(result):
    """A row for each hop of a whole file, else one; see `markdown`."""
    ours, theirs = result["ours"], result.get("theirs", {})
    share = ours.get("matmul_share")
    # Whole calls are measured, seconds of a chunk are shown.
    batch = result["batch"] if result["task"] == "inference" else 1
    for timed in result.get("hops", [{**ours, **result}]):
        low, high = map(number, timed.get("ratio_range", (None, None)))
        yield {
            **{
                key: result[key]
                for key in ("preset", "backend", "engine", "precision", "batch")
            },
            "hop / s": number(timed.get("hop_seconds")),
            "build / s": number(ours.get("build_seconds")),
            "first / s": number(ours["first_seconds"]),
            "s": spread(timed, 1 / batch),
            "per s": number(batch / timed["median_seconds"]),
            "s per s of audio": number(timed.get("real_time_factor")),
            "SNR lost / dB": number(timed.get("snr_lost_db")),
            "peak / GB": number(ours["peak_bytes"], 1e-9),
            "of matmul rate": share and f"{100 * share:.0f} %",
            "agreement / dB": number(result["agreement_db"]),
            "after the steps / dB": number(result.get("trained_agreement_db")),
            "authors' s": spread(theirs, 1 / batch),
            "authors' peak / GB": number(theirs.get("peak_bytes"), 1e-9),
            "times as fast": low and f"{number(timed['ratio'])} ({low}-{high})",
        }


def crop_rows(result):
    for source, row in result["crops"].items():
        yield {
            "source": source,
            "crops/s and core": number(row["crops_per_second_and_core"]),
            "ms per read": number(row["read_ms"]),
        }


def fit_rows(result):
    for clock, row in result["fit"].items():
        yield {
            "backend": result["backend"],
            "clock": clock,
            "s per step": number(row["pipeline"]),
            "with batches in memory": number(row["in memory"]),
            "ratio": number(row["ratio"]),
        }


def command_rows(result):
    yield {
        "command": result["command"],
        "preset": result.get("preset"),
        "backend": result["backend"] if "preset" in result else None,
        "engine": result.get("engine"),
        "audio / s": number(result.get("seconds_of_audio")),
        "s": spread(result),
        "peak / GB": number(result["peak_bytes"], 1e-9),
    }


ROWS = {
    "inference": model_rows,
    "training": model_rows,
    "separate": model_rows,
    "pipeline": crop_rows,
    "fit": fit_rows,
    "startup": command_rows,
    "memory": command_rows,
}


def case_name(case):
    """Words that tell a case from the others."""
    keys = ("command", "preset", "backend", "engine", "precision", "batch")
    keys += ("seconds_of_audio",)
    words = [f"{key} {case[key]}" for key in keys if key in case]
    return f"{case['task']}: {', '.join(words)}"


def markdown(report):
    """The report as Markdown, str. Columns that stay empty are left out."""
    about = report["machine"]
    lines = [
        f"# Benchmark of {report['date']}",
        "",
        f"{about['cpu']} ({' '.join(about['cpu_flags'])}), {about['cores']} "
        f"cores, {about['memory_gib']:.0f} GiB, {about['system']}, load "
        f"{about['load_average'][0]:.1f} at the start; "
        + ", ".join(f"{k} {v}" for k, v in about["versions"].items())
        + f"; commit {report['commit']}",
        "",
        f"Chunks of {report['config']['chunk_seconds']:g} s; medians, smallest "
        "and largest in parentheses.",
    ]
    if report["reference_commit"]:
        lines += ["", f"Authors' code at {report['reference_commit']}."]
    done = [r for r in report["results"] if r["status"] == "done"]
    for task, rows_of in ROWS.items():
        rows = [x for r in done if r["task"] == task for x in rows_of(r)]
        if rows:
            used = [k for k in rows[0] if any(x[k] is not None for x in rows)]
            cells = [[row[key] for key in used] for row in rows]
            table = tabulate(cells, used, "pipe", disable_numparse=True)
            lines += ["", f"## {task}", "", table]
    missing = [
        f"- {case_name(r)}: {r['status']} {r.get('error', '')}".rstrip()
        for r in report["results"]
        if r["status"] != "done"
    ]
    if missing:
        lines += ["", "## not measured", "", *missing]
    return "\n".join(lines) + "\n"


def write(report, folder):
    """Replaces both files of results, each at once."""
    text = json.dumps(report, indent=1) + "\n"
    write_text(folder / "benchmark.json", text)
    write_text(folder / "benchmark.md", markdown(report))
