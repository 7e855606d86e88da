"""Separation that goes on where it was killed.

A job is a hidden directory beside the stems. `job.json` says of what it is the
job: file, model, settings. What the model has finished lies in `<part>.raw`,
float32 at the model's rate, and `<part>.npz` has what chunks to come will add
to. Reading, resampling and writing begin anew: they cost little, and what is
written is the same to the bit.
"""

import hashlib
import os
import time

import numpy as np

from keras_bandit.common.files import read_json, write_json
from keras_bandit.common.settings import check_same_settings
from keras_bandit.common.versions import versions

try:
    import fcntl
except ImportError:  # Windows: two processes are not told apart
    fcntl = None


JOB = "job.json"
SECONDS_BETWEEN_STATES = 10.0
_HASHED = 2**20  # bytes at either end of a file


def describe_file(path):
    """What tells a file from others, quickly: a dict for JSON."""
    status, digest = os.stat(path), hashlib.sha256()
    with open(path, "rb") as file:
        digest.update(file.read(_HASHED))
        file.seek(max(status.st_size - _HASHED, 0))
        digest.update(file.read(_HASHED))
    return {
        "path": os.path.realpath(path),
        "bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "sha256_of_its_ends": digest.hexdigest(),
    }


def describe_separator(separator):
    """What tells a separator and its engine from others: a dict for JSON."""
    if hasattr(separator, "identity"):  # computes elsewhere, and was told
        return separator.identity
    if hasattr(separator, "engine"):
        names = "engine", "precision", "description"
        found = {name: getattr(separator, name) for name in names}
        return {**found, "versions": versions(separator.engine)}
    from keras_bandit.models.record import describe_model, versions_of

    return {**describe_model(separator), "versions": versions_of("keras")}


class Job:
    """A directory of what is finished of a separation.

    Args:
        folder: `pathlib.Path`. Made if it does not exist.
        settings: dict for JSON. What must be the same to go on.

    Attributes:
        resumed: bool. Whether there was a job to go on with.

    Raises:
        ValueError: if there is a job with other settings.
        BlockingIOError: if another process works on it.
    """

    def __init__(self, folder, settings):
        self.folder, path = folder, folder / JOB
        self.resumed = path.exists()
        if self.resumed:
            check_same_settings(
                read_json(path),
                settings,
                f"the job to resume, {folder},",
                "give those of before, or separate without --resume",
            )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, settings)
        self._lock = os.open(path, os.O_RDONLY)
        if fcntl:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(self._lock)
                error.filename = str(folder)
                raise
        self._count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._lock)

    def keep(self, crossfade):
        """A `Crossfade` whose estimates are kept, and not computed again.

        To be called in the same order each time.
        """
        self._count += 1
        return _Kept(crossfade, self.folder / f"part_{self._count}")


class _Kept:
    """Used like the `Crossfade` that it keeps."""

    def __init__(self, crossfade, path):
        self._crossfade = crossfade
        self._path, self._raw_path = path, path.with_suffix(".raw")
        self._stored = 0  # samples in the raw file that a former start wrote
        self._pushed = self._returned = 0
        self._shape = None  # (stems, items, channels)
        if path.with_suffix(".npz").exists():
            with np.load(path.with_suffix(".npz")) as state:
                self._stored = int(state["finished"])
                crossfade.restore(state)
        crossfade.on_rest = self._keep_state
        self._kept_at = time.monotonic()

    def push(self, items):
        """See `Crossfade.push`."""
        if self._shape is None:
            self._shape = len(self._crossfade.stems), *items.shape[:2]
            self._sample_bytes = 4 * int(np.prod(self._shape))
            # What was written after the last state is computed again.
            with open(self._raw_path, "ab") as file:
                file.truncate(self._stored * self._sample_bytes)
        self._pushed += items.shape[-1]
        return self._pass_on(self._crossfade.push(items), self._pushed)

    def finish(self):
        """See `Crossfade.finish`."""
        return self._pass_on(self._crossfade.finish(), self._stored)

    def _pass_on(self, computed, most):
        """What is stored comes first, as much of it as was pushed at most."""
        parts = [np.stack(list(computed.values()))]
        with open(self._raw_path, "ab") as file:
            file.write(np.moveaxis(parts[0], -1, 0).tobytes())
        count = min(self._stored, most) - self._returned
        if count > 0:
            stored = np.fromfile(
                self._raw_path,
                "float32",
                count * self._sample_bytes // 4,
                offset=self._returned * self._sample_bytes,
            )
            stored = stored.reshape(count, *self._shape)
            parts.insert(0, np.moveaxis(stored, 0, -1))
            self._returned += count
        joined = np.concatenate(parts, axis=-1)
        return dict(zip(computed, joined, strict=True))

    def _keep_state(self):
        if time.monotonic() - self._kept_at < SECONDS_BETWEEN_STATES:
            return
        # The samples are there before a state counts them.
        with open(self._raw_path, "ab") as file:
            os.fsync(file.fileno())
        partial = self._path.with_suffix(".partial")
        with open(partial, "wb") as file:
            np.savez(file, **self._crossfade.state())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self._path.with_suffix(".npz"))
        self._kept_at = time.monotonic()
