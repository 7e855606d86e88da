"""PyTorch's archives read without PyTorch: as `torch.load` does, or refused."""

import collections
import fractions
import io
import pathlib
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch

from keras_bandit.convert.checkpoint_file import read_state_dict
from keras_bandit.convert.torch_file import read_torch_file

pytestmark = pytest.mark.once

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
CHECKPOINTS = sorted(
    path
    for path in GOLDEN.rglob("*")
    if path.suffix in (".ckpt", ".th", ".pt", ".pth")
)
HDEMUCS = "demucs.hdemucs.HDemucs"
HTDEMUCS = "demucs.htdemucs.HTDemucs"


class HDemucs:
    """Stands in for the class that packages name."""


class HTDemucs:
    """Another."""


HDemucs.__module__ = "demucs.hdemucs"
HTDemucs.__module__ = "demucs.htdemucs"


def assert_same(found, expected):
    """Trees as `torch.load` gives them; tensors byte for byte."""
    if isinstance(expected, torch.Tensor):
        if expected.dtype is torch.bfloat16:
            expected = expected.float()
        expected = expected.detach().numpy()
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            assert_same(found[name], expected[name])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif expected in (HDemucs, HTDemucs):
        assert found == f"{expected.__module__}.{expected.__name__}"
    elif isinstance(expected, (torch.dtype, torch.device)):
        assert found == str(expected)
    else:
        assert type(found) is type(expected)
        assert found == expected


def loaded(path):
    with torch.serialization.safe_globals(
        [HDemucs, HTDemucs, fractions.Fraction]
    ):
        return torch.load(path, weights_only=True)


def read(path):
    return read_torch_file(path, [HDEMUCS, HTDEMUCS])


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.name)
def test_golden_checkpoints_are_as_torch_loads_them(path):
    assert_same(read(path), loaded(path))


def test_there_are_checkpoints_of_all_formats():
    assert len(CHECKPOINTS) >= 17


DTYPES = [
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.bool, torch.complex64, torch.complex128),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_and_strides(dtype, tmp_path):
    whole = torch.arange(-30, 30).to(dtype).reshape(3, 4, 5)
    path = tmp_path / "x.pt"
    tree = {
        "whole": whole,
        "transposed": whole.permute(2, 0, 1),
        "part": whole[1:, ::2, 3:],
        "number": whole[2, 1, 3],
        "empty": whole[:, :0],
        "repeated": whole[:1, :1].expand(6, 7, 5),
    }
    torch.save(tree, path)
    found = read(path)
    assert_same(found, loaded(path))
    assert not any(
        array.flags.writeable for array in found.values() if array.size
    )
    # One record for all of them.
    records = zipfile.ZipFile(path).namelist()
    assert sum("/data/" in name for name in records) == 1
    torch.save(torch.zeros(0, 3, dtype=dtype), path)
    assert_same(read(path), loaded(path))


def test_plain_objects(tmp_path):
    tensor = torch.arange(3.0)
    tensor.note = "left out"
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    tree = {
        "state_dict": module.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "parameters": list(module.parameters()),
        "tensor": tensor,
        "hyper_parameters": collections.OrderedDict(
            a=1, b=-2.5, c=None, d=True, e=[1, (2, [3])], f={"x": {}}
        ),
        "pytorch-lightning_version": "2.0",
        "int": [0, 255, 65536, -1, 2**31, -(2**40), 2**100],
        "text": "ü€",
        7: {0.5: "number", None: "none"},
        "size": tensor.shape,
        "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
        "counter": dict(collections.Counter("aab")),
        "complex": 1 - 2j,
        "bytes": b"\x00\xff",
        "bytearray": [bytearray(b"\x00\xff"), bytearray()],
        "set": {1, "a"},
        "fraction": fractions.Fraction(39, 5),
        "class": HDemucs,
    }
    path = tmp_path / "x.ckpt"
    # Found by its name when it is saved.
    sys.modules["demucs"] = sys.modules["demucs.hdemucs"] = sys.modules[
        __name__
    ]
    try:
        torch.save(tree, path)
    finally:
        del sys.modules["demucs"], sys.modules["demucs.hdemucs"]
    assert_same(read(path), loaded(path))


def test_big_endian(tmp_path):
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/byteorder", "big")
        archive.writestr("x/data.pkl", pickled(storage("FloatStorage", 2)))
        archive.writestr("x/data/0", np.array([1.5, -2], ">f4").tobytes())
    np.testing.assert_array_equal(read(path), [1.5, -2])


def test_needs_no_torch(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert read_state_dict(checkpoint("umx_dnr"))["state_dict"]


# Files that are damaged or mean harm, made by hand


def text(word):
    return pickle.BINUNICODE + len(word).to_bytes(4, "little") + word.encode()


def number(n):
    return pickle.BININT + n.to_bytes(4, "little", signed=True)


def named(name):
    module, _, name = name.rpartition(".")
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def numbers(*values):
    return pickle.MARK + b"".join(map(number, values)) + pickle.TUPLE


def storage(kind="FloatStorage", count=4, size=None, stride=(1,), offset=0):
    """A tensor of the record 0."""
    size = (count,) if size is None else size
    return (
        named("torch._utils._rebuild_tensor_v2")
        + pickle.MARK
        + pickle.MARK
        + text("storage")
        + named(f"torch.{kind}")
        + text("0")
        + text("cpu")
        + number(count)
        + pickle.TUPLE
        + pickle.BINPERSID
        + number(offset)
        + numbers(*size)
        + numbers(*stride)
        + pickle.NEWFALSE
        + pickle.NONE
        + pickle.TUPLE
        + pickle.REDUCE
    )


def pickled(content):
    return pickle.PROTO + b"\x02" + content + pickle.STOP


def called(function, *args):
    return (
        named(function)
        + pickle.MARK
        + b"".join(args)
        + pickle.TUPLE
        + (pickle.REDUCE)
    )


@pytest.fixture
def archive(tmp_path):
    """Writes an archive of this pickle, and of a storage of 16 bytes."""

    def write(content, compression=zipfile.ZIP_STORED, record=bytes(16)):
        path = tmp_path / "x.pt"
        with zipfile.ZipFile(path, "w", compression) as file:
            file.writestr("x/data.pkl", pickled(content))
            file.writestr("x/data/0", record)
            file.writestr("x/version", "3\n")
        return path

    return write


def test_what_is_made_by_hand_is_read(archive):
    found = read(archive(storage()))
    assert_same(found, loaded(archive(storage())))
    found = read(archive(storage(size=(2, 2), stride=(2, 1))))
    assert found.shape == (2, 2)


GREAT = 2**31 - 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (storage(count=GREAT), "another size"),
        (storage(count=5), "another size"),
        (storage(size=(5,)), "beyond its storage"),
        (storage(size=(2,), stride=(4,)), "beyond its storage"),
        (storage(offset=4, size=(1,)), "beyond its storage"),
        (storage(offset=-1, size=(1,)), "tensor that is none"),
        (storage(size=(-1,)), "tensor that is none"),
        (storage(size=(2,), stride=(-1,)), "tensor that is none"),
        (storage(size=(2, 2)), "tensor that is none"),
        # Their product would take minutes.
        (storage(size=(GREAT,) * 10**5, stride=(0,) * 10**5), "that is none"),
        (storage(size=(GREAT, GREAT), stride=(0, 0)), "larger than the file"),
        (storage("QInt8Storage"), "torch.QInt8Storage"),
        (named("os.system") + pickle.STOP, r"refused: .*\(os.system\)"),
        (called("os.system", text("true")), r"refused: .*\(os.system\)"),
        (called("builtins.getattr"), r"refused: .*\(builtins.getattr\)"),
        (called("__builtin__.eval"), r"refused: .*\(builtins.eval\)"),
        (called("torch.load"), r"refused: .*\(torch.load\)"),
        (called("numpy.load"), r"refused: .*\(numpy.load\)"),
        (
            called("torch._utils._rebuild_tensor_v2.__globals__"),
            "refused: ",
        ),
        (called("fractions.Fraction.__new__"), "refused: "),
        # A class of a package is a name, which nothing calls.
        (called(HDEMUCS), "not callable"),
        (text("x") + pickle.EMPTY_TUPLE + pickle.REDUCE, "not callable"),
        # Attributes are set of state dicts alone, where they are left out.
        (
            named("fractions.Fraction")
            + pickle.NONE
            + pickle.EMPTY_DICT
            + text("__doc__")
            + text("x")
            + pickle.SETITEM
            + pickle.TUPLE2
            + pickle.BUILD,
            "sets attributes of",
        ),
        (
            storage() + number(0) + number(1) + pickle.SETITEM,
            "sets items of what is no dict",
        ),
        (called("fractions.Fraction", text("1e999999999")), "fraction"),
        (called("builtins.bytearray", number(GREAT)), "bytes that are none"),
        (called("_codecs.encode", text("x"), text("zip")), "bytes that are"),
        (called("builtins.set", number(1)), "set that is none"),
        (called("torch.Size", number(3)), "size that is none"),
        (
            called("torch._tensor._rebuild_from_type_v2", text("x")),
            "TypeError",
        ),
        # A view in place of a storage could reach beyond it.
        (
            called(
                "torch._utils._rebuild_tensor",
                storage(size=(9,), stride=(0,)),
                number(0),
                numbers(9),
                numbers(1),
            ),
            "tensor that is none",
        ),
        (pickle.BINGET + b"\x07", "7"),
        (pickle.NONE + pickle.LONG_BINPUT + b"\xff" * 4 + pickle.POP, "48"),
        (b"", "IndexError"),
        (pickle.MARK, "IndexError"),
        (pickle.TUPLE, "IndexError"),
        (pickle.BINUNICODE + b"\xff" * 4 + b"x", "EOFError"),
        (pickle.LONG4 + b"\xff" * 4, "139"),
        (pickle.NONE + pickle.EMPTY_TUPLE + pickle.NEWOBJ, "129"),
        (pickle.INST + b"os\nsystem\n", "105"),
        (pickle.STACK_GLOBAL, "147"),
        (pickle.EXT1 + b"\x01", "130"),
    ],
)
def test_hostile_pickles(archive, content, reason):
    path = archive(content)
    with pytest.raises(ValueError, match=reason) as error:
        read(path)
    message = str(error.value)
    assert "\n" not in message
    assert "refused: it carries code" in message or (
        message.startswith(f"{str(path)!r} is not a PyTorch checkpoint, or is")
    )


def test_numbers_of_a_memo_cost_nothing(archive):
    content = pickle.NONE + pickle.LONG_BINPUT + b"\xff" * 4
    assert read(archive(content)) is None


def nested(pair):
    """A value that holds itself 2^64 times."""
    content = text("x")
    for i in range(64):
        i = bytes([i])
        content += pickle.BINPUT + i + pickle.BINGET + i + pair
    return content


def test_shared_tuples_as_names(archive):
    """Their hash would take for ever."""
    key = nested(pickle.TUPLE2)
    content = pickle.EMPTY_DICT + key + pickle.NONE + pickle.SETITEM
    with pytest.raises(ValueError, match="keys of other types"):
        read(archive(content))
    many = called("builtins.set", pickle.EMPTY_LIST + key + pickle.APPEND)
    with pytest.raises(ValueError, match="keys of other types"):
        read(archive(many))


def test_texts_and_views_that_grow(archive):
    """A long text or a large view that is shared, and copied when it is read."""
    content = pickle.EMPTY_LIST + text("x" * 10**6) + pickle.BINPUT + b"\x01"
    content += pickle.APPEND
    copy = called("_codecs.encode", pickle.BINGET + b"\x01", text("latin1"))
    with pytest.raises(ValueError, match="larger than the file"):
        read(archive(content + (copy + pickle.APPEND) * 60))
    # Twice as long each time.
    x = pickle.BINGET + b"\x01"
    double = called("torch.device", x, x) + pickle.BINPUT + b"\x01"
    with pytest.raises(ValueError, match="larger than the file"):
        read(archive(text("x") + pickle.BINPUT + b"\x01" + double * 99))
    view = storage(size=(2**20,), stride=(0,))
    assert len(read(archive(pickle.EMPTY_LIST + view + pickle.APPEND))[0])
    with pytest.raises(ValueError, match="larger than the file"):
        read(archive(pickle.EMPTY_LIST + (view + pickle.APPEND) * 60))


def test_archives_that_grow(archive, tmp_path):
    bomb = archive(storage(count=10**6), zipfile.ZIP_DEFLATED, bytes(4 * 10**6))
    with pytest.raises(ValueError, match="is compressed"):
        read(bomb)
    # Many records that lie over one another.
    path = archive(storage(), record=bytes(10**6))
    content = path.read_bytes()
    entry = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    claimed = bytearray(content)
    claimed[entry + 20 : entry + 28] = b"\xff\xff\xff\x7f" * 2  # sizes
    path.write_bytes(claimed)
    with pytest.raises(ValueError, match="beyond its end"):
        read(path)


def test_every_record_is_checked(archive):
    path = archive(storage(), record=b"0123456789abcdef")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0123456789abcdef", b"0123456789abcdeX"))
    with pytest.raises(ValueError, match="CRC"):
        read(path)


def test_truncated_anywhere(checkpoint, tmp_path):
    content = checkpoint("umx_dnr").read_bytes()
    path = tmp_path / "x.ckpt"
    for i in range(20):
        path.write_bytes(content[: len(content) * i // 20])
        with pytest.raises(ValueError, match="is not a PyTorch checkpoint"):
            read_state_dict(path)


def test_sparse_and_quantized_are_refused(tmp_path):
    path = tmp_path / "x.pt"
    torch.save(torch.eye(3).to_sparse(), path)
    with pytest.raises(ValueError, match="_rebuild_sparse_tensor"):
        read(path)
    torch.save(torch.ones(3, dtype=torch.complex64).conj(), path)
    with pytest.raises(ValueError, match="conjugate"):
        read(path)


def test_files_from_before_1_6(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    tree = {"a": torch.arange(3.0)}
    torch.save(tree, path, _use_new_zipfile_serialization=False)
    found = read_state_dict(path)
    assert torch.equal(found["a"], tree["a"])
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"saved as before .*\[torch\]'$"):
        read_state_dict(path)
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"is not a PyTorch checkpoint$"):
        read_state_dict(path)
