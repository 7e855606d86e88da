"""Prepares datasets on disk for `keras_bandit.data.open_tracks`."""

import contextlib
import errno
import importlib
import io
import json
import os
import pathlib
import shutil
import textwrap

from keras_bandit.data.track_files import FolderError

DATASETS = ("dnr", "musdb18_hq", "film_mix")
"""Datasets that `prepare` knows: the folders of `datasets/`."""

DEFAULT_CONFIGS = {
    "dnr": "v2_paths",
    "musdb18_hq": "paths",
    "film_mix": "paths",
}
"""What `config=None` means."""


def load_builder(dataset, data_dir, config=None):
    """Makes the TFDS builder of a dataset.

    Args:
        dataset: one of `DATASETS`.
        data_dir: path. Where datasets are prepared.
        config: str, a config's name; `None` takes `DEFAULT_CONFIGS`.

    Returns:
        `keras_bandit.data.track_builder.TrackBuilder`.

    Raises:
        ImportError: if TensorFlow Datasets is not installed.
        ValueError: for an unknown dataset or config.
    """
    if dataset not in DATASETS:
        raise ValueError(
            f"dataset must be one of {', '.join(DATASETS)}; got {dataset!r}"
        )
    try:
        module = importlib.import_module(
            f"keras_bandit.datasets.{dataset}.{dataset}_dataset_builder"
        )
    except ModuleNotFoundError as error:
        if error.name.startswith("keras_bandit"):
            raise
        raise ImportError(
            f"preparing datasets needs {error.name}: pip install "
            "'keras-bandit[datasets]'"
        ) from error
    builder_class = module.Builder
    config = config or DEFAULT_CONFIGS[dataset]
    if config not in builder_class.builder_configs:
        config = builder_class.make_config(config)
    return builder_class(data_dir=os.fspath(data_dir), config=config)


def describe(directory):
    """What a prepared dataset holds, in one line.

    Args:
        directory: path, from `prepare`.

    Returns:
        str, "train 3406, validation 487, test 973 tracks, 1.9 MB".
    """
    index = json.loads((directory / "metadata.json").read_text())
    counts = ", ".join(
        f"{split} {len(tracks)}" for split, tracks in index["tracks"].items()
    )
    size = sum(path.stat().st_size for path in directory.iterdir())
    return f"{counts} tracks, {size / 1e6:,.1f} MB"


@contextlib.contextmanager
def _set_aside(directory):
    """Moves a directory away, and back if the block does not replace it."""
    former = directory.with_name(f".{directory.name}.{os.getpid()}.old")
    if directory.exists():
        os.rename(directory, former)
    try:
        yield
    finally:
        if former.exists():
            if directory.exists():
                shutil.rmtree(former)
            else:
                os.rename(former, directory)


def prepare(
    dataset,
    manual_dir,
    data_dir,
    config=None,
    overwrite=False,
    show_progress=False,
    mixing=None,
):
    """Prepares a dataset: checks its files and stores or indexes them.

    Nothing is left behind when it fails: a dataset is there complete or not
    at all, so the same call prepares it after a repair.

    Args:
        dataset: one of `DATASETS`.
        manual_dir: path. The folder with the dataset's files; the builder's
            `MANUAL_DOWNLOAD_INSTRUCTIONS` say how to come by it.
        data_dir: path. Where the prepared dataset goes, to
            `data_dir/dataset/config/version`.
        config: str, a config's name, such as "v2_segments"; `None` takes
            `DEFAULT_CONFIGS`.
        overwrite: bool. Whether a prepared dataset is made again; the former
            one stays if that fails.
        show_progress: bool. Whether progress bars go to standard error.
        mixing: dict, or `None`. For film_mix, arguments of
            `keras_bandit.data.film_mixer.mix_film_tracks`.

    Returns:
        `pathlib.Path`, the directory of the prepared dataset, and a list of
        str, what is worth knowing, such as a number of tracks that is not
        the release's.

    Raises:
        FileExistsError: if it is prepared already, and not `overwrite`.
        FolderError: if files are missing, damaged or short; names them all.
        ImportError: if a package is not installed that it needs.
        OSError: if files cannot be read or written.
        ValueError: for an unknown dataset or config.
    """
    manual_dir = pathlib.Path(manual_dir).absolute()
    data_dir = pathlib.Path(data_dir).absolute()
    builder = load_builder(dataset, data_dir, config)
    directory = builder.data_path
    if mixing and dataset != "film_mix":
        raise ValueError(
            f"mixing is for film_mix; got {mixing} with dataset {dataset!r}"
        )
    _check_folder(manual_dir, builder)
    if directory.exists() and not overwrite:
        raise FileExistsError(f"{directory} is prepared already")
    with _set_aside(pathlib.Path(directory)), _quiet(show_progress):
        # A builder reads what is prepared when it is made: so made again.
        builder = load_builder(dataset, data_dir, config)
        builder.mixing = mixing or {}
        try:
            _run(builder, manual_dir)
        except FolderError as error:
            if error.problems:
                raise
            # Not this dataset at all: say how to come by it.
            hint = _instructions(builder)
            raise FolderError(error.summary, hint=hint) from error
    return pathlib.Path(directory), builder.notes + _left_over(directory)


def _instructions(builder):
    return textwrap.dedent(builder.MANUAL_DOWNLOAD_INSTRUCTIONS).strip()


def _check_folder(manual_dir, builder):
    """Checks for a folder that is not empty, which TFDS does not take."""
    if not manual_dir.is_dir():
        raise FolderError(
            f"{manual_dir}: no such folder", hint=_instructions(builder)
        )
    if any(manual_dir.iterdir()):
        return
    if builder.name != "film_mix":
        raise FolderError(f"{manual_dir} is empty", hint=_instructions(builder))
    (manual_dir / "mixed").mkdir()


def _run(builder, manual_dir):
    import tensorflow_datasets as tfds

    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
        )
    except RuntimeError as error:
        # ArrayRecord's and TensorFlow's writers have no OSError.
        full = os.strerror(errno.ENOSPC)
        if full not in str(error):
            raise
        raise OSError(errno.ENOSPC, full, str(builder.data_path)) from error


@contextlib.contextmanager
def _quiet(show_progress):
    """Without TFDS' messages, and without its bars if asked for."""
    import tensorflow_datasets as tfds

    tfds.display_progress_bar(show_progress)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.display_progress_bar(True)


def _left_over(directory):
    """Notes what a killed preparation could not remove."""
    return [
        f"{path} is left over from a preparation that was killed, if none is "
        "running; remove it"
        for path in pathlib.Path(directory).parent.glob("incomplete.*")
    ]
