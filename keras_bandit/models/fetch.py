"""Released weights: fetched, checked, converted, kept in the user's cache."""

import errno
import hashlib
import shutil
import sys

from keras_bandit.common.cache import cache_directory
from keras_bandit.common.download import download
from keras_bandit.common.files import replace_directory, write_json


def cached_preset(name):
    """Directory of a released preset, there or not."""
    return cache_directory() / "presets" / name


def fetch_weights(preset, mirror=None, source=None, keep_checkpoint=False):
    """Makes the preset directory of released weights, unless it is there.

    Says on standard error what is fetched, its licence and what to cite. The
    checkpoints are removed once they are converted. Of two processes at once
    one waits for the other.

    Args:
        preset: `Preset` whose `weights` are `ReleasedWeights`.
        mirror: str, URL of a folder that has the files too, or `None`.
        source: path of the file, or of a folder with the files, to take
            instead of the network; or `None`.
        keep_checkpoint: bool. Keep the files beside the preset, in
            `checkpoints/<name>` of the cache.

    Returns:
        `pathlib.Path` of the preset directory.

    Raises:
        OSError: if files cannot be fetched, read or written. What has been
            fetched is kept, and not fetched again.
        ValueError: if a file is not what was released (it is removed), or is
            no checkpoint.
    """
    import filelock

    folder = cached_preset(preset.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        _say(f"{preset.name}: waiting for another process that fetches it")
        lock.acquire()
    try:
        if not (folder / "config.json").is_file():
            _make(preset, folder, mirror, source, keep_checkpoint)
    finally:
        lock.release()
    return folder


def _make(preset, folder, mirror, source, keep_checkpoint):
    weights, url = preset.weights, mirror or preset.weights.record.url
    checkpoints = cache_directory() / "checkpoints" / preset.name
    checkpoints.mkdir(parents=True, exist_ok=True)
    _announce(preset, mirror or source)
    _check_space(preset, checkpoints)
    for file in weights.files:
        _get(file, checkpoints, url, source)
    separator = _convert(preset, checkpoints)
    replace_directory(folder, separator.save_to_preset)
    if not keep_checkpoint:
        shutil.rmtree(checkpoints)


def size_text(size):
    """Bytes for people."""
    return f"{size / 1e6:.0f} MB"


def _say(line):
    print(f"keras-bandit: {line}", file=sys.stderr, flush=True)


def _announce(preset, where):
    weights, record = preset.weights, preset.weights.record
    files = ", ".join(file.name for file in weights.files)
    size = f" ({size_text(weights.size)})" if weights.size else ""
    _say(f"{preset.name}: fetching {files}{size} from {where or record.name}")
    limit = ": not for commercial use" if "-NC" in record.licence else ""
    _say(f"{preset.name}: licence {record.licence}{limit}")
    _say(f"{preset.name}: please cite {record.citation}")


def _check_space(preset, folder):
    """Raises before anything is fetched that would not fit."""
    there = sum(path.stat().st_size for path in folder.iterdir())
    missing = max((preset.weights.size or 0) - there, 0)
    needed = missing + 4 * preset.sizes().parameters
    free = shutil.disk_usage(folder).free
    if free < needed:
        reason = f"{size_text(needed)} needed, {size_text(free)} free"
        raise OSError(errno.ENOSPC, reason, str(folder))


def _get(file, folder, url, source):
    """Puts a file into the folder and checks it."""
    path = folder / file.name
    if source is None:
        download(f"{url.rstrip('/')}/{file.name}", path)
    else:
        path.unlink(missing_ok=True)
        shutil.copyfile(source / file.name if source.is_dir() else source, path)
    if file.checksum is None:
        return
    kind, _, expected = file.checksum.partition(":")
    with open(path, "rb") as content:
        found = hashlib.file_digest(content, kind).hexdigest()
    if not found.startswith(expected):
        path.unlink()
        raise ValueError(
            f"{source or url}: {file.name} has {kind.upper()} {found}, not "
            f"{expected}: it is damaged or another file, and not kept"
        )


def _convert(preset, folder):
    """The separator of the checkpoints in a folder."""
    from keras_bandit.common.quiet import quiet_tensorflow

    weights, record = preset.weights, preset.weights.record
    with quiet_tensorflow():
        from keras_bandit.backend.process import without_tensorflow
    with without_tensorflow():
        with quiet_tensorflow():
            from keras_bandit.convert import from_checkpoint
            from keras_bandit.models import BSRNNAudioSeparator
        settings = {"sample_rate": preset.sample_rate, **weights.settings}
        paths = [folder / file.name for file in weights.files]
        if weights.bag is not None:
            signatures = [path.stem.partition("-")[0] for path in paths]
            paths = [folder / "bag.yaml"]  # JSON is YAML
            write_json(paths[0], {"models": signatures, **weights.bag})
        elif len(paths) > 1 and preset.model != "BSRNNAudioSeparator":
            paths = [folder]
        parts = [from_checkpoint(path, **settings) for path in paths]
        separator = (
            parts[0] if len(parts) == 1 else BSRNNAudioSeparator.join(parts)
        )
    separator.metadata |= {
        "preset": preset.name,
        "license": record.licence,
        "citation": record.citation,
        "record": record.name,
        "url": record.url,
        "checksums": {file.name: file.checksum for file in weights.files},
    }
    return separator
