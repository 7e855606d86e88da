"""Files of a preset directory, local or remote."""

import os

METADATA_FILE = "metadata.json"


def find_preset_file(preset, name):
    """Local path of a preset's file, downloaded if the preset is remote.

    Args:
        preset: directory, or a handle that KerasHub knows (`hf://…`,
            `kaggle://…`).
        name: file name inside the preset.

    Returns:
        str.

    Raises:
        ValueError: if the preset has no such file.
    """
    if "://" not in preset:
        path = os.path.join(preset, name)
        if os.path.isfile(path):
            return path
    else:
        # Not public in KerasHub 0.32, but the one place that knows handles.
        from keras_hub.src.utils.preset_utils import get_file

        try:
            return get_file(preset, name)
        except FileNotFoundError:
            pass
    raise ValueError(f"preset {preset!r} has no file {name}")


def move_files(source, target):
    """Moves a directory's files into another one, replacing namesakes."""
    os.makedirs(target, exist_ok=True)
    for name in sorted(os.listdir(source)):
        os.replace(os.path.join(source, name), os.path.join(target, name))
