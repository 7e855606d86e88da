"""Choose from the sounds of natural_sounds.py what another machine can take.

Command: python recipes/pack_sounds.py SOUNDS PACK --mib 44
Writes: PACK, as SOUNDS without the test split, in Opus at 48 kHz.
Time: 5 minutes on one CPU core.
"""

import argparse
import collections
import csv
import itertools
import pathlib
import shutil

import numpy as np
import soundfile
import soxr
from natural_sounds import SHORTEST_SECONDS
from recipe import run

OPUS_RATE = 48000
SPLITS = {"train": 0.94, "validation": 0.06}
# Shares of a pack's bytes, and bit rates in kb/s. Few effects are long.
SHARES = {"speech": 0.32, "music": 0.36, "foreground": 0.2, "background": 0.12}
KBPS = {"speech": 24, "music": 32, "foreground": 40, "background": 32}
OVERHEAD = 1.05


def length_limit(lengths, total):
    """The longest that each may be if all together are to last `total`."""
    low, high = 0.0, max(lengths)
    for _ in range(50):
        middle = (low + high) / 2
        if np.minimum(lengths, middle).sum() > total:
            high = middle
        else:
            low = middle
    return low


def choose(rows, mib, seed=0):
    """What to take: `(row, start, stop)` in seconds.

    Of every speaker, piece and sound as many seconds, until a kind's and split's
    share of the bytes is full: many of them are worth more than long ones.

    Args:
        rows: list of dict, of the manifest.
        mib: float. MiB in all.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for kind, split in itertools.product(SHARES, SPLITS):
        groups = collections.defaultdict(list)
        for row in rows:
            if row["kind"] == kind and row["split"] == split:
                groups[row["group"]].append(row)
        if not groups:
            continue
        lengths = [sum(float(r["seconds"]) for r in g) for g in groups.values()]
        bits = SHARES[kind] * SPLITS[split] * mib * 2**20 * 8
        limit = length_limit(lengths, bits / (1000 * OVERHEAD * KBPS[kind]))
        for found in groups.values():
            left = limit
            for index in rng.permutation(len(found)):
                seconds = float(found[index]["seconds"])
                start = 0.0
                if kind == "music":  # the beginning may be quiet
                    start = rng.uniform(0, max(seconds - left, 0))
                stop = min(seconds, start + left)
                if stop - start < min(SHORTEST_SECONDS[kind], seconds):
                    break
                chosen.append((found[index], start, stop))
                left -= stop - start
    return chosen


def encode(source, target, kind, start, stop):
    """Writes a piece of a file as Opus."""
    audio, rate = soundfile.read(source, dtype="float32")
    audio = audio[round(start * rate) : round(stop * rate)]
    audio = soxr.resample(audio, rate, OPUS_RATE)
    # libsndfile's scale: 0 is 256 kb/s for a channel, 1 is 6 kb/s.
    level = (256 - KBPS[kind]) / 250
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        target,
        audio * min(1.0, 0.9 / np.abs(audio).max()),
        OPUS_RATE,
        format="OGG",
        subtype="OPUS",
        compression_level=level,
    )


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sounds", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--mib", type=float, required=True)
    arguments = parser.parse_args(argv)
    if arguments.output.exists():
        raise ValueError(f"{arguments.output} exists; choose another folder")
    with (arguments.sounds / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = choose(rows, arguments.mib)
    seconds = collections.Counter()
    for row, start, stop in chosen:
        target = arguments.output / row["file"]
        source = arguments.sounds / row["file"]
        encode(source, target.with_suffix(".opus"), row["kind"], start, stop)
        seconds[row["split"], row["kind"]] += stop - start
    shutil.copy(arguments.sounds / "CREDITS.md", arguments.output)
    for (split, kind), total in sorted(seconds.items()):
        print(f"{split} {kind}: {total / 3600:.2f} h")
    size = sum(p.stat().st_size for p in arguments.output.rglob("*.opus"))
    print(f"{size / 2**20:.1f} MiB")


if __name__ == "__main__":
    run(main)
