"""A core model as an ONNX file."""

import functools

import keras

from keras_bandit.export import UnsupportedModelError
from keras_bandit.export.emitters import EMITTERS
from keras_bandit.export.onnx_graph import OnnxGraph

# Beyond this a protobuf message cannot be written.
_MOST_BYTES = 2**31 - 1


def onnx_core(core, stems, fold=True):
    """Writes the layers of a `core_model` as an ONNX graph, `onnx.ModelProto`.

    Standard operators alone. Batch, channels (of models that take any number)
    and frames are free. The input is `spectrogram (batch, channels, frames,
    bins, 2)`, outputs are `mask_<stem>` of that shape in the order of `stems`,
    all float32. `fold` is `OnnxGraph`'s.

    Raises:
        UnsupportedModelError: if there is no emitter for a layer, a layer's
            dtype policy is not float32, or the file would exceed 2 GiB.
    """
    size = 4 * core.count_params()
    if size > _MOST_BYTES:
        raise UnsupportedModelError(
            "format onnx holds models of less than 2 GiB; got "
            f"{size / 2**30:.1f} GiB"
        )
    (spectrogram,) = core.inputs
    dims = [
        name if size is None else size
        for name, size in zip(
            ("batch", "channels", "frames", "bins", "parts"),
            spectrogram.shape,
            strict=True,
        )
    ]
    graph = OnnxGraph(fold)
    masks = _emit(graph, core, graph.input("spectrogram", dims))
    # Keras sorts the keys on some backends.
    names = [f"mask_{stem}" for stem in stems]
    return graph.model({name: (masks[name], dims) for name in names})


def _emit(graph, layer, *inputs, **kwargs):
    """Adds a layer's nodes, or all of a model's; returns its outputs."""
    if isinstance(layer, keras.Function):
        with graph.scope(layer.name):
            # Keras has no public way to walk a model's layers in order.
            return layer._run_through_graph(
                inputs,
                operation_fn=lambda inner: functools.partial(
                    _emit, graph, inner
                ),
            )
    if type(layer) not in EMITTERS:
        raise UnsupportedModelError(
            f"format onnx has no emitter for {type(layer).__name__}; got "
            f"layer {layer.name} in {graph.place}"
        )
    with graph.scope(layer.name):
        output = EMITTERS[type(layer)](graph, layer, *inputs)
    specs = keras.tree.map_structure(
        lambda x: keras.KerasTensor(graph.shapes[x]), list(inputs)
    )
    graph.shapes[output] = layer.compute_output_spec(*specs).shape
    return output
