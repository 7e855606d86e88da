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
CPU_FLAGS = r"\b(?:avx2|avx512(?:f|_bf16|_vnni)|amx_(?:tile|bf16|int8)|asimd)\b"


def commit(folder):
    """Commit of a checkout, with `+` if files are changed, or `None`.

    `folder` is the checkout's root: one in another repository has no commit.
    """
    if not (Path(folder) / ".git").exists():
        return None
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty=+"]
    done = subprocess.run(
        [*git, "--match=", "--abbrev=12"], capture_output=True, text=True
    )
    return done.stdout.strip() or None


def machine():
    """Processor, memory, how busy they are, and versions of packages."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    name = re.search(r"^model name\s*: (.*)", text, re.M)
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count()))
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": name[1] if name else platform.processor() or None,
        "cpu_flags": sorted(set(re.findall(CPU_FLAGS, text))),
        "cores": len(affinity(0)),
        "memory_gib": pages / 2**30,
        "load_average": list(os.getloadavg()),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "versions": versions(*PACKAGES),
    }


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
    if "median_seconds" not in facts:
        return None
    middle, low, high = (
        number(facts[f"{name}_seconds"], scale)
        for name in ("median", "min", "max")
    )
    return f"{middle} ({low}-{high})" if low != high else middle


def model_rows(result):
    """A row for each hop of a whole file, else one."""
    ours, theirs = result["ours"], result.get("theirs", {})
    share = ours.get("matmul_share")
    # Whole calls are measured, seconds of a chunk are shown.
    batch = result["batch"] if result["task"] == "inference" else 1
    keys = ("preset", "backend", "engine", "precision", "batch")
    for timed in result.get("hops", [{**ours, **result}]):
        low, high = map(number, timed.get("ratio_range", (None, None)))
        yield {key: result[key] for key in keys} | {
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
    for source, crops in result["crops"].items():
        yield {"source": source, "crops/s and core": number(crops)}


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


def chunk_rows(results):
    """A row for each system: chunks per second and memory of each preset.

    As section V-F of BandIt's paper compares BandIt with Hybrid Demucs. What
    the authors' code took beside all of our cases is one sample.
    """
    presets = list(dict.fromkeys(r["preset"] for r in results))
    found = {}
    for result in results:
        keys = ("backend", "engine", "precision", "batch")
        ours = tuple(result[key] for key in keys)
        theirs = ("torch", "the authors'", "float32", result["batch"])
        for system, facts in (
            (ours, result["ours"]),
            (theirs, result.get("theirs")),
        ):
            if facts:
                entry = found.setdefault(system, {})
                seconds, peaks = entry.setdefault(result["preset"], ([], []))
                seconds += facts["seconds"]
                peaks.append(facts["peak_bytes"])
    for system, measured in sorted(
        found.items(), key=lambda x: x[0][1] != "the authors'"
    ):
        row = dict(
            zip(("backend", "code", "precision", "batch"), system, strict=True)
        )
        for preset in presets:
            seconds, peaks = measured.get(preset, (None, None))
            rate = seconds and system[-1] / statistics.median(seconds)
            row[f"{preset}, chunks/s"] = number(rate)
            row[f"{preset}, peak / GB"] = peaks and number(max(peaks), 1e-9)
        yield row


ROWS = dict.fromkeys(("inference", "training", "separate"), model_rows)
ROWS |= {"pipeline": crop_rows, "startup": command_rows, "memory": command_rows}


def case_name(case):
    """Words that tell a case from the others."""
    keys = ("command", "preset", "backend", "engine", "precision", "batch")
    keys += ("seconds_of_audio",)
    words = [f"{key} {case[key]}" for key in keys if key in case]
    return f"{case['task']}: {', '.join(words)}"


def table(rows):
    """Dicts with the same keys as Markdown, without columns all empty."""
    used = [k for k in rows[0] if any(x[k] is not None for x in rows)]
    cells = [[row[key] for key in used] for row in rows]
    return tabulate(cells, used, "pipe", disable_numparse=True)


def markdown(report):
    """The report as Markdown, str."""
    about = report["machine"]
    packages = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    parts = [
        f"# Benchmark of {report['date']}",
        f"{about['cpu']} ({' '.join(about['cpu_flags'])}), {about['cores']} "
        f"cores, {about['memory_gib']:.0f} GiB, {about['system']}, load "
        f"{about['load_average'][0]:.1f} at the start; {packages}; commit "
        f"{report['commit']}",
        f"Chunks of {report['config']['chunk_seconds']:g} s; medians, smallest "
        "and largest in parentheses.",
    ]
    commits = report["reference_commits"].items()
    if commits:
        named = (f"{Path(k).name} at {v or 'no commit'}" for k, v in commits)
        parts.append(f"Authors' code: {', '.join(named)}.")
    done = [r for r in report["results"] if r["status"] == "done"]
    for task, rows_of in ROWS.items():
        rows = [x for r in done if r["task"] == task for x in rows_of(r)]
        if rows:
            parts += [f"## {task}", table(rows)]
    inferences = [r for r in done if r["task"] == "inference"]
    if len({r["preset"] for r in inferences}) > 1:
        parts += ["## chunks per second", table(list(chunk_rows(inferences)))]
    missing = [
        f"- {case_name(r)}: {r['status']} {r.get('error', '')}".rstrip()
        for r in report["results"]
        if r["status"] != "done"
    ]
    if missing:
        parts += ["## not measured", "\n".join(missing)]
    return "\n\n".join(parts) + "\n"


def write(report, folder):
    """Replaces both files of results, each at once."""
    text = json.dumps(report, indent=1) + "\n"
    write_text(folder / "benchmark.json", text)
    write_text(folder / "benchmark.md", markdown(report))
