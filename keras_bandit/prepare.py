"""Prepares datasets on disk for `keras_bandit.data.open_tracks`."""

import importlib
import os
import pathlib

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


def prepare(dataset, manual_dir, data_dir, config=None, overwrite=False):
    """Prepares a dataset: checks its files and stores or indexes them.

    Nothing is left behind when it fails: a dataset is there complete or not
    at all, so after a repair the same call does it again.

    Args:
        dataset: one of `DATASETS`.
        manual_dir: path. The folder with the dataset's files.
        data_dir: path. Where the prepared dataset goes, to
            `data_dir/dataset/config/version`.
        config: str, a config's name, such as "v2_segments"; `None` takes
            `DEFAULT_CONFIGS`.
        overwrite: bool. Whether a prepared dataset is made again.

    Returns:
        The directory of the prepared dataset, and a list of str: what is
        worth knowing, such as a number of tracks that is not the release's.

    Raises:
        FileExistsError: if it is prepared already, and not `overwrite`.
        FolderError: if files are missing, damaged or short; names them all.
        ValueError: for an unknown dataset or config.
    """
    manual_dir = pathlib.Path(manual_dir).absolute()
    builder = load_builder(dataset, data_dir, config)
    if not manual_dir.is_dir():
        raise FolderError(f"{manual_dir}: no such folder")
    if builder.data_path.exists() and not overwrite:
        raise FileExistsError(
            f"{builder.data_path} is prepared already; overwrite replaces it"
        )
    import tensorflow_datasets as tfds

    mode = tfds.GenerateMode.REUSE_DATASET_IF_EXISTS
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=manual_dir, download_mode=mode
        )
    )
    return pathlib.Path(builder.data_dir), builder.notes
