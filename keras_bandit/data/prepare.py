"""Prepares datasets on disk for `keras_bandit.data.open_tracks`."""

import contextlib
import errno
import importlib
import io
import os
import pathlib
import shutil
import textwrap

from keras_bandit.common.checks import check_choice
from keras_bandit.common.files import read_json, replace_directory
from keras_bandit.data.track_files import FolderError

DEFAULT_CONFIGS = {
    "dnr": "v2_paths",
    "musdb18_hq": "paths",
    "film_mix": "paths",
}
"""Datasets that `prepare` knows, and what `config=None` means."""


def load_builder(dataset, data_dir, config=None):
    """Makes a dataset's `TrackBuilder`; arguments and errors as `prepare`."""
    check_choice("dataset", dataset, DEFAULT_CONFIGS)
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
    config = config or DEFAULT_CONFIGS[dataset]
    if config not in module.Builder.builder_configs:
        config = module.Builder.make_config(config)
    return module.Builder(data_dir=os.fspath(data_dir), config=config)


def describe(directory):
    """What `prepare` made: "train 3406, …, test 973 tracks, 1.9 MB"."""
    index = read_json(directory / "metadata.json")
    counts = ", ".join(
        f"{split} {len(tracks)}" for split, tracks in index["tracks"].items()
    )
    size = sum(path.stat().st_size for path in directory.iterdir())
    return f"{counts} tracks, {size / 1e6:,.1f} MB"


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

    The dataset is there complete or not at all.

    Args:
        dataset: str, one of `DEFAULT_CONFIGS`.
        manual_dir: path. The folder with the dataset's files; the builder's
            `MANUAL_DOWNLOAD_INSTRUCTIONS` say where they come from.
        data_dir: path. Goes to `data_dir/dataset/config/version`.
        config: str, such as "v2_segments"; `None`: of `DEFAULT_CONFIGS`.
        overwrite: bool. Whether a prepared dataset is replaced; the former
            one stays if that fails.
        show_progress: bool. Whether progress bars go to standard error.
        mixing: dict, or `None`. For film_mix, arguments of `mix_film_tracks`.

    Returns:
        path of the prepared dataset, and a list of str, notes such as "train
        has 2 tracks; the full release has 3406".

    Raises:
        FileExistsError: if it is prepared already, and not `overwrite`.
        FolderError: if files are missing, damaged or short; names them all.
        ValueError: for an unknown dataset or config.
    """
    manual_dir = pathlib.Path(manual_dir).absolute()
    data_dir = pathlib.Path(data_dir).absolute()
    builder = load_builder(dataset, data_dir, config)
    directory = pathlib.Path(builder.data_path)
    if mixing and dataset != "film_mix":
        raise ValueError(
            f"mixing is for film_mix; got {mixing} with dataset {dataset!r}"
        )
    hint = textwrap.dedent(builder.MANUAL_DOWNLOAD_INSTRUCTIONS).strip()
    # TFDS would refuse these folders without saying why.
    if not manual_dir.is_dir():
        raise FolderError(f"{manual_dir}: no such folder", hint=hint)
    if not any(manual_dir.iterdir()):
        if dataset != "film_mix":
            raise FolderError(f"{manual_dir} is empty", hint=hint)
        (manual_dir / "mixed").mkdir()  # all sounds are generated
    if directory.exists() and not overwrite:
        raise FileExistsError(f"{directory} is prepared already")
    notes = []

    def write(partial):
        # TFDS would remove the former dataset first, and then write.
        builder = load_builder(dataset, partial, config)
        builder.mixing = mixing or {}
        _run(builder, manual_dir, hint)
        notes.extend(builder.notes)
        others = list(partial.iterdir())
        for path in pathlib.Path(builder.data_path).iterdir():
            path.rename(partial / path.name)
        for path in others:
            shutil.rmtree(path)

    with _quiet(show_progress):
        replace_directory(directory, write)
    return directory, notes


def _run(builder, manual_dir, hint):
    import tensorflow_datasets as tfds

    download = tfds.download.DownloadConfig(manual_dir=manual_dir)
    try:
        builder.download_and_prepare(download_config=download)
    except FolderError as error:
        if error.problems:
            raise
        # Another folder altogether: say where to find the right one.
        raise FolderError(error.summary, hint=hint) from error
    except RuntimeError as error:
        # ArrayRecord's writer has no OSError.
        full = os.strerror(errno.ENOSPC)
        if full not in str(error):
            raise
        raise OSError(errno.ENOSPC, full, str(builder.data_path)) from error


@contextlib.contextmanager
def _quiet(show_progress):
    """Without TFDS' messages, and without its bars unless asked for."""
    import tensorflow_datasets as tfds

    tfds.display_progress_bar(show_progress)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.display_progress_bar(True)
