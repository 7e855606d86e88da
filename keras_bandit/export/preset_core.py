"""An ONNX core that refers to the weights in its preset's HDF5 files.

So a preset that ships with the package has a core without holding its weights
twice: ONNX lets a tensor lie in another file, here in a dataset of HDF5.
"""

import pathlib

import h5py
import onnx

from keras_bandit.common.files import replace_file, write_json
from keras_bandit.export.description import DESCRIPTION_FILE, MODEL_FILES
from keras_bandit.export.exporting import describe
from keras_bandit.export.onnx_core import onnx_core
from keras_bandit.models.core_transforms import make_transforms

# What is smaller stays in the core.
_LEAST_BYTES = 1024


def write_preset_core(separator, folder):
    """Writes `core.onnx` and `separator.json` into a preset directory.

    Both have to be written again when the weights change. `separator` was
    loaded from the preset, whose weights are neither compressed nor chunked.
    """
    folder = pathlib.Path(folder)
    # The reader derives its weights from the variables as they are stored.
    transforms = make_transforms(separator.stems, separator.core_transforms())
    model = onnx_core(separator.core_model(), transforms, fold=False)
    places = _places(folder)
    for tensor in model.graph.initializer:
        place = places.get(tensor.raw_data)
        if place is None or len(tensor.raw_data) < _LEAST_BYTES:
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
    content = model.SerializeToString(deterministic=True)
    replace_file(folder / MODEL_FILES["onnx"], lambda p: p.write_bytes(content))
    write_json(folder / DESCRIPTION_FILE, describe(separator, "onnx"))


def _places(folder):
    """Content of each dataset in a folder's HDF5 files → where it lies."""
    places = {}
    for path in sorted(folder.glob("*.weights.h5")):

        def note(_, item, path=path):
            if not isinstance(item, h5py.Dataset):
                return
            offset = item.id.get_offset()
            if offset is not None:
                content = item[()].tobytes()
                place = (path.name, offset, len(content))
                places[content] = dict(
                    zip(("location", "offset", "length"), place, strict=True)
                )

        with h5py.File(path) as file:
            file.visititems(note)
    return places
