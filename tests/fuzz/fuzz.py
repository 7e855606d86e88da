"""Runs of the command on damaged inputs, and what must be true of each."""

import copy
import json
import pathlib
import random
import struct
import traceback

from keras_bandit import cli

_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def files(folder="."):
    """Files and folders below a folder, hidden ones too."""
    return {str(path) for path in pathlib.Path(folder).rglob("*")}


class Runs:
    """Runs of `keras-bandit` that may fail, but only as documented.

    Args:
        read: function that returns what was printed, and forgets it.
        output: name of the folder that runs may write to.
        marker: path of a file that only code from an input would make.
    """

    def __init__(self, read, output, marker):
        self.read, self.output, self.marker = read, output, marker
        self.count, self.failures, self.statuses = 0, [], []

    def __call__(self, what, argv):
        """Runs the command and notes what is not as it should be."""
        before = files()
        self.count += 1
        try:
            status = cli.main(argv)
        except SystemExit as end:  # --help
            status = end.code
        except BaseException:
            status = None
            self._note(what, traceback.format_exc(limit=-3))
        self.statuses.append(status)
        _, err = self.read()
        if status not in (0, 1, 2, None):
            self._note(what, f"exit status {status}")
        # `prepare` names every damaged file, in lines of their own.
        start = (
            "keras-bandit: "
            if argv[:1] != ["prepare"]
            else ("keras-bandit: ", "  ")
        )
        wrong = [
            line for line in err.splitlines() if not line.startswith(start)
        ]
        if wrong or (status and not err):
            self._note(what, f"status {status}, standard error: {err[:400]}")
        new = files() - before
        if argv[:1] == ["prepare"]:
            # TFDS makes two folders as soon as it is asked for a dataset.
            new = {
                name
                for name in new
                if pathlib.Path(name).is_file()
                and ".config" not in pathlib.Path(name).parts
            }
        left = {name for name in new if self._remains(status, name)}
        if left:
            self._note(what, f"status {status} left {sorted(left)[:5]}")
        if self.marker.exists():
            self._note(what, "ran code")
            self.marker.unlink()
        return status

    def _remains(self, status, name):
        path = pathlib.Path(name)
        hidden = any(part.startswith(".") for part in path.parts)
        return status != 0 or hidden or path.parts[0] != self.output

    def _note(self, what, text):
        self.failures.append(f"{what}: {text}")

    def check(self, least, failing=0):
        """Asserts that nothing was noted in at least so many runs.

        Args:
            least: int. Runs that there must have been.
            failing: int. Runs that must have ended with status 1 or 2, or
                the inputs were not damaged.
        """
        assert not self.failures, (
            f"{len(self.failures)} faults in {self.count} runs:\n"
            + "\n".join(self.failures)
        )
        assert self.count >= least
        assert sum(status != 0 for status in self.statuses) >= failing


def mutate(content, rng, head=None):
    """Bytes with a few places changed.

    Args:
        content: bytes.
        rng: `random.Random`.
        head: int. Changes are made below this position; `None`: anywhere.
    """
    found = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        if len(found) < 8:
            break
        place = rng.randrange(min(len(found), head or len(found)))
        kind = rng.randrange(6)
        if kind == 0:
            found[place] = rng.randrange(256)
        elif kind == 1:
            found[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            size, code = rng.choice([(2, "H"), (4, "I")])
            number = rng.choice(_NUMBERS) % (1 << 8 * size)
            order = rng.choice("<>")
            found[place : place + size] = struct.pack(order + code, number)
        elif kind == 3:
            del found[place : place + rng.randint(1, 8)]
        elif kind == 4:
            found[place:place] = rng.randbytes(rng.randint(1, 8))
        else:
            del found[rng.randrange(len(found)) :]
    return bytes(found)


def places(tree, path=()):
    """Paths to every value of nested dicts and lists."""
    items = ()
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list):
        items = enumerate(tree)
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def replaced(tree, path, value):
    """A copy of nested dicts and lists with another value at a path."""
    tree = copy.deepcopy(tree)
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return tree


# What JSON may hold in the place of any value. No large counts: a model of
# 10⁹ pairs is not damaged, only large.
VALUES = (
    *(None, True, False, -1, 0, 0.5, 7, float("nan"), float("inf"), -(10**30)),
    *("", "x", "../x", "\x00", "ü" * 300, "keras_bandit>BandSplit"),
    *([], {}, [[]], [None], ["speech", "speech"], {"x": {}}),
    *({"class_name": "x"}, {"class_name": ["x"], "config": {}}),
    {"module": "keras", "class_name": "DTypePolicy", "config": {}},
    {"class_name": "__numpy__", "config": {"value": [0], "dtype": "x"}},
)


def mutated_json(tree, rng):
    """A copy of a JSON object with one value, key or brace changed; text."""
    *_, path = [rng.choice(list(places(tree)))]
    kind = rng.randrange(8)
    if kind < 5:
        return json.dumps(replaced(tree, path, rng.choice(VALUES)))
    tree = copy.deepcopy(tree)
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    if kind == 5:
        del inner[path[-1]]
    elif kind == 6 and isinstance(inner, dict):
        inner[rng.choice(["x", "dtype", "units", "weights"])] = inner.pop(
            path[-1]
        )
    else:
        text = json.dumps(tree)
        place = rng.randrange(len(text))
        return (
            text[:place] + rng.choice(["", "}", "[", '"']) + text[place + 9 :]
        )
    return json.dumps(tree)


def generator(name):
    """A random generator of its own for each name."""
    return random.Random(name)
