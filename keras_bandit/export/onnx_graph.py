"""An ONNX graph, written operation by operation."""

import contextlib
import hashlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

# The first with LayerNormalization: readers of 2023 and later take the file.
OPSET = 17
IR_VERSION = 8

# Smaller constants are not stored in float16: a cast would cost more.
_LEAST_HALVED = 1024


class OnnxGraph:
    """Nodes and constants of an ONNX model under construction.

    Tensors are their names. An operation that is already there, with the same
    inputs and attributes, is not added again. Constants are deduplicated by
    their content, and stored in float16 if that holds them exactly (weights
    of presets that ship so).

    Args:
        fold: bool. Whether `gather`, `transpose` and `concat` of constants
            are computed now, by NumPy. If not, the file keeps the variables
            as they are and the reader computes them once.
    """

    def __init__(self, fold=True):
        self.fold = fold
        self.shapes = {}
        """Shape of each layer's outputs, `None` where it is not fixed."""
        self.rows = {}
        """Masks in another layout, see `emitters.mask_decoder`."""
        self._nodes = []
        self._known = {}
        self._constants = {}
        self._inputs = []
        self._scopes = []

    # Names

    @contextlib.contextmanager
    def scope(self, name):
        """Nodes of this block have names that begin with `name/`."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    @property
    def place(self):
        """Path of the model or layer whose nodes are being written."""
        return "/".join(self._scopes)

    # Tensors

    def input(self, name, dims):
        """Adds a float32 input; a dimension is an int or a name."""
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        self._inputs.append(info)
        self.shapes[name] = [d if isinstance(d, int) else None for d in dims]
        return name

    def constant(self, array, dtype="float32"):
        """Adds a constant."""
        array = np.ascontiguousarray(array, dtype)
        digest = hashlib.blake2b(array, digest_size=16).digest()
        key = (array.dtype.str, array.shape, digest)
        if key not in self._known:
            self._known[key] = f"constant_{len(self._constants)}"
            self._constants[self._known[key]] = array
        return self._known[key]

    def dims(self, x):
        """Dimensions of a layer's input: ints, or tensors `(1,)` of int64."""
        return [
            self.add("Shape", x, start=axis, end=axis + 1)
            if size is None
            else size
            for axis, size in enumerate(self.shapes[x])
        ]

    # Operations

    def add(self, op, *inputs, **attributes):
        """Adds a node of one output, and returns that."""
        return self.add_many(1, op, *inputs, **attributes)[0]

    def add_many(self, count, op, *inputs, **attributes):
        """Adds a node of so many outputs, and returns them."""
        key = (op, inputs, repr(attributes))
        if key not in self._known:
            number = len(self._nodes)
            name = f"{op.lower()}_{number}"
            self._known[key] = [name, *(f"{name}_{i}" for i in range(1, count))]
            self._nodes.append(
                helper.make_node(
                    op,
                    list(inputs),
                    self._known[key],
                    name=f"{self.place}/{op}_{number}",
                    **attributes,
                )
            )
        return self._known[key]

    def integers(self, *values):
        """A constant list of int64, such as axes."""
        return self.constant(values, "int64")

    def reshape(self, x, *dims):
        """Reshapes to ints (one may be -1) and dimensions of `dims`."""
        if self.fold and x in self._constants:
            return self.constant(self._constants[x].reshape(dims))
        if all(isinstance(size, int) for size in dims):
            return self.add("Reshape", x, self.integers(*dims))
        parts = [
            self.integers(size) if isinstance(size, int) else size
            for size in dims
        ]
        return self.add("Reshape", x, self.add("Concat", *parts, axis=0))

    def transpose(self, x, *order):
        """Permutes the axes."""
        if self.fold and x in self._constants:
            return self.constant(self._constants[x].transpose(order))
        return self.add("Transpose", x, perm=order)

    def gather(self, x, index, axis):
        """Takes entries along an axis; `index` is a NumPy array."""
        if self.fold and x in self._constants:
            return self.constant(np.take(self._constants[x], index, axis))
        return self.add("Gather", x, self.constant(index, "int32"), axis=axis)

    def concat(self, parts, axis):
        """Joins tensors along an axis."""
        if len(parts) == 1:
            return parts[0]
        if self.fold and all(part in self._constants for part in parts):
            arrays = [self._constants[part] for part in parts]
            return self.constant(np.concatenate(arrays, axis))
        return self.add("Concat", *parts, axis=axis)

    # The file

    def model(self, outputs):
        """The `onnx.ModelProto` of outputs `{name: (tensor, dims)}` and what
        they need."""
        named, infos = [], []
        for name, (tensor, dims) in outputs.items():
            named.append(helper.make_node("Identity", [tensor], [name], name))
            infos.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
            )
        needed = {tensor for tensor, _ in outputs.values()}
        nodes = []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        casts, initializers = [], []
        for name, array in self._constants.items():
            if name not in needed:
                continue
            if _fits_half(array):
                stored = f"{name}_half"
                array = array.astype("float16")
                casts.append(
                    helper.make_node(
                        "Cast", [stored], [name], name, to=TensorProto.FLOAT
                    )
                )
                name = stored
            initializers.append(numpy_helper.from_array(array, name))
        return helper.make_model(
            helper.make_graph(
                [*casts, *reversed(nodes), *named],
                "core",
                self._inputs,
                infos,
                initializers,
            ),
            producer_name="keras-bandit",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )


def _fits_half(array):
    if array.dtype != np.float32 or array.size < _LEAST_HALVED:
        return False
    with np.errstate(over="ignore"):
        return np.array_equal(array.astype("float16").astype("float32"), array)
