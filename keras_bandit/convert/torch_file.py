"""PyTorch's zip format (`torch.save` since 1.6), read without PyTorch.

An archive holds `data.pkl`, a pickle of protocol 2, and each storage as a
record `data/<key>`. What the pickle may do is what `torch.load` allows with
`weights_only=True`, but for sparse and quantized tensors.
"""

import collections
import fractions
import io
import math
import os
import pickle
import re
import typing
import zipfile

import numpy as np

from keras_bandit.common.one_line import one_line

# By PyTorch's names; bfloat16 is the upper half of a float32.
DTYPES = {
    **{f"int{8 * n}": f"i{n}" for n in (1, 2, 4, 8)},
    **{f"uint{8 * n}": f"u{n}" for n in (1, 2, 4, 8)},
    **{f"float{8 * n}": f"f{n}" for n in (2, 4, 8)},
    **{f"complex{8 * n}": f"c{n}" for n in (8, 16)},
    "bool": "?",
    "bfloat16": "u2",
}
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
# Names that only describe: they are read as text, and cannot be called.
PLAIN_NAMES = {
    *(f"torch.{name}" for name in (*DTYPES, *STORAGES)),
    "torch.storage.UntypedStorage",
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
}
SCALARS = (str, int, float, bool, bytes, type(None))


class RefusedError(ValueError):
    """The pickle names code or objects that are not read."""


class _Storage(typing.NamedTuple):
    """A record; a type of its own, so that a view is never taken for one."""

    array: np.ndarray


def _check(holds, message):
    if not holds:
        raise ValueError(message)


class _Reader(pickle._Unpickler):
    """Python's own unpickler with fewer opcodes and no code to call.

    The one written in Python has a `dispatch` that can be cut down, and a
    dict as memo: a memo of the C one is as long as its largest number.

    Args:
        archive: `zipfile.ZipFile`.
        file_size: int, bytes.
        classes: names of classes that are read as text.
    """

    dispatch: typing.ClassVar = {
        op[0]: pickle._Unpickler.dispatch[op[0]]
        for op in (
            *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL),
            *(pickle.REDUCE, pickle.BUILD, pickle.BINPERSID),
            *(pickle.BINGET, pickle.LONG_BINGET),
            *(pickle.BINPUT, pickle.LONG_BINPUT),
            *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
            *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
            *(pickle.BINFLOAT, pickle.BINUNICODE, pickle.SHORT_BINSTRING),
            *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1),
            *(pickle.TUPLE2, pickle.TUPLE3, pickle.EMPTY_LIST),
            *(pickle.APPEND, pickle.APPENDS, pickle.EMPTY_SET),
            *(pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS),
        )
    }

    def __init__(self, archive, file_size, classes):
        pickles = [
            name
            for name in archive.namelist()
            if re.fullmatch(r"[^/]+/data\.pkl", name)
        ]
        _check(len(pickles) == 1, "it has no record data.pkl")
        self.archive, self.file_size = archive, file_size
        self.folder = pickles[0].removesuffix("data.pkl")
        # More than a file can mean: views of one small storage may be large.
        self.budget = 8 * file_size + 2**24
        self.names = PLAIN_NAMES | set(classes)
        self.storages = {}
        byteorder = self.folder + "byteorder"
        self.order = "<"
        if byteorder in archive.namelist():
            self.order = ">" if self.record("byteorder") == b"big" else "<"
        self.functions = {
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor_v3": self.typed_tensor,
            "torch._utils._rebuild_parameter": self.parameter,
            "torch._utils._rebuild_parameter_with_state": self.parameter,
            "torch._tensor._rebuild_from_type_v2": self.tensor_of_type,
            "torch.Size": self.size,
            "torch.device": self.device,
            "collections.OrderedDict": self.ordered_dict,
            "collections.Counter": self.counter,
            "fractions.Fraction": self.fraction,
            "builtins.set": self.set,
            "builtins.complex": self.complex,
            "builtins.bytearray": self.bytearray,
            "_codecs.encode": self.encode,
        }
        super().__init__(io.BytesIO(self.record("data.pkl")))

    def spend(self, count):
        """Counts bytes and elements against what a file of this size may."""
        self.budget -= count
        _check(self.budget >= 0, "its tensors are larger than the file allows")

    def record(self, name):
        """Bytes of a record, whose checksum is checked."""
        info = self.archive.getinfo(self.folder + name)
        _check(
            info.compress_type == zipfile.ZIP_STORED
            and info.file_size == info.compress_size <= self.file_size,
            f"its record {name} is compressed or beyond its end",
        )
        self.spend(info.file_size)
        return self.archive.read(info)

    # What the pickle may name

    def find_class(self, module, name):
        module = {"__builtin__": "builtins"}.get(module, module)  # protocol 2
        name = f"{module}.{name}"
        if name in self.names:
            return name
        if name not in self.functions:
            raise RefusedError(
                "checkpoint is refused: it carries code or objects beside "
                f"tensors ({name})"
            )
        return self.functions[name]

    def persistent_load(self, pid):
        kind, storage_type, key, _, count = pid
        dtype = STORAGES.get(storage_type.removeprefix("torch."))
        if storage_type == "torch.storage.UntypedStorage":
            dtype = "uint8"
        _check(
            kind == "storage" and dtype and type(key) is str,
            f"it has a storage of type {storage_type}",
        )
        if (key, dtype) not in self.storages:
            content = self.record(f"data/{key}")
            self.storages[key, dtype] = _Storage(self.typed(content, dtype))
        storage = self.storages[key, dtype]
        _check(len(storage.array) == count, f"storage {key} has another size")
        return storage

    def typed(self, content, dtype):
        """Bytes as an array of one axis."""
        array = np.frombuffer(content, self.order + DTYPES[dtype])
        if dtype == "bfloat16":
            self.spend(2 * len(content))
            array = (array.astype("uint32") << 16).view("float32")
        return array

    def tensor(self, storage, offset, size, stride, *rest):
        """A view of a storage; offset and strides are in elements."""
        numbers = (offset, *size, *stride)
        _check(
            type(storage) is _Storage
            and len(size) == len(stride) <= 64  # NumPy has no more axes
            and all(type(n) is int and n >= 0 for n in numbers),
            "it has a tensor that is none",
        )
        # Views as conjugate or negative, alone after requires_grad and hooks
        _check(not any(rest[2:]), "it has conjugate or negative views")
        array, count = storage.array, math.prod(size)
        self.spend(count)
        if count == 0:
            return np.empty(size, array.dtype)
        steps = zip(size, stride, strict=True)
        last = offset + sum((n - 1) * step for n, step in steps)
        _check(last < len(array), "it has a tensor beyond its storage")
        return np.lib.stride_tricks.as_strided(
            array[offset:],
            size,
            [step * array.itemsize for step in stride],
            writeable=False,
        )

    def typed_tensor(self, storage, offset, size, stride, *rest):
        """Of a storage of bytes: requires_grad, hooks, dtype, views follow."""
        _, _, dtype, *views = rest
        _check(type(storage) is _Storage, "it has a tensor that is none")
        dtype = dtype.removeprefix("torch.")
        array = self.typed(storage.array, dtype)
        return self.tensor(_Storage(array), offset, size, stride, 0, 0, *views)

    def parameter(self, data, *rest):
        return data

    def tensor_of_type(self, function, kind, args, state):
        """A tensor with attributes, which are left out."""
        rebuild = (self.tensor, self.typed_tensor, self.parameter)
        _check(function in rebuild, "it has a tensor that is none")
        return function(*args)

    def size(self, size):
        _check(type(size) is tuple, "it has a size that is none")
        return size

    def device(self, *name):
        name = ":".join(str(part) for part in name if type(part) in (str, int))
        self.spend(len(name))
        return name

    def ordered_dict(self):
        return collections.OrderedDict()

    def counter(self, counts):
        _check(type(counts) is dict, "it has a Counter that is none")
        self.spend(len(counts))
        return dict(counts)

    def fraction(self, *parts):
        # A text such as 1e999999999 would take all of the memory.
        written = "/".join(str(p) for p in parts if type(p) in (str, int))
        _check(
            re.fullmatch(r"-?\d{1,20}(/\d{1,20})?", written),
            "it has a fraction that is none",
        )
        return fractions.Fraction(written)

    def set(self, items):
        _check(type(items) is list, "it has a set that is none")
        self.spend(len(items))
        return {self.key(item) for item in items}

    def complex(self, real, imaginary):
        return complex(real, imaginary)

    def bytearray(self, content=b""):
        _check(type(content) is bytes, "it has bytes that are none")
        self.spend(len(content))
        return bytearray(content)

    def encode(self, text, encoding):
        _check(
            type(text) is str and encoding in ("latin1", "latin-1"),
            "it has bytes that are none",
        )
        self.spend(len(text))
        return text.encode("latin-1")

    # Opcodes that call methods of what the pickle made

    def key(self, key):
        # The hash of a tuple of tuples, shared, may take for ever.
        _check(type(key) in SCALARS, "it has a dict with keys of other types")
        return key

    def set_items(self, target, items):
        _check(
            type(target) in (dict, collections.OrderedDict),
            "it sets items of what is no dict",
        )
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.key(key)] = value

    def load_setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items(self.stack[-1], [key, value])

    def load_setitems(self):
        items = self.pop_mark()
        self.set_items(self.stack[-1], items)

    def load_build(self):
        # Attributes of a state dict (_metadata), which are left out.
        self.stack.pop()
        _check(
            type(self.stack[-1]) is collections.OrderedDict,
            "it sets attributes of what is no OrderedDict",
        )

    dispatch |= {
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.BUILD[0]: load_build,
    }


def is_zip(path):
    """Whether a file begins as PyTorch's archives do."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def read_torch_file(path, classes=()):
    """Reads an archive of `torch.save`, without code from it.

    Args:
        path: path of a file for which `is_zip` holds.
        classes: names such as `"demucs.hdemucs.HDemucs"` of classes that the
            file may name; they are not looked for, and read as their names.

    Returns:
        what was saved: dicts, lists, tuples, numbers, texts, and tensors as
        NumPy arrays, read-only views of their storages; bfloat16 becomes
        float32. Dtypes and devices are text.

    Raises:
        ValueError: if it is damaged, or names code or other objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = os.path.getsize(path)
            return _Reader(archive, size, classes).load()
    except RefusedError:
        raise
    except Exception as error:
        # Damaged files end in errors of any kind (IndexError, TypeError, …).
        what = "" if type(error) is ValueError else f"{type(error).__name__}: "
        raise ValueError(
            f"{os.fspath(path)!r} is not a PyTorch checkpoint, or is damaged: "
            f"{what}{one_line(error)}"
        ) from error
