"""A core model as an ONNX file."""

import functools

import keras

from keras_bandit.export import (
    UnsupportedModelError,
    hybrid_demucs_emitters,  # noqa: F401
)
from keras_bandit.export.emitters import EMITTERS
from keras_bandit.export.onnx_graph import OnnxGraph

# Beyond this a protobuf message cannot be written.
_MOST_BYTES = 2**31 - 1


# Names of the axes of spectrograms, real masks and waveforms.
_AXES = {
    5: ("batch", "channels", "frames", "bins", "parts"),
    4: ("batch", "channels", "frames", "bins"),
    3: ("batch", "channels", "samples"),
}


def onnx_core(core, transforms, fold=True):
    """Writes the layers of a `core_model` as an ONNX graph, `onnx.ModelProto`.

    Standard operators alone, all float32. Batch, channels (of models that take
    any number), frames and samples are free. Inputs and outputs are those of
    the `transforms` (`models/core_transforms.py`), in their order. `fold` is
    `OnnxGraph`'s.

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
    graph = OnnxGraph(fold)
    inputs = [
        graph.input(name, _dims(tensor.shape))
        for name, tensor in zip(transforms.inputs, core.inputs, strict=True)
    ]
    outputs = _emit(graph, core, *inputs)
    # Keras sorts the keys on some backends.
    return graph.model(
        {
            name: (outputs[name], _dims(graph.shapes[outputs[name]]))
            for name in transforms.outputs
        }
    )


def _dims(shape):
    return [
        name if size is None else size
        for name, size in zip(_AXES[len(shape)], shape, strict=True)
    ]


def _emit(graph, layer, *inputs, **kwargs):
    """Adds a layer's nodes, or all of a model's; returns its outputs."""
    if isinstance(layer, keras.Function):
        with graph.scope(layer.name):
            # Keras has no public way to walk a model's layers in order.
            return layer._run_through_graph(
                keras.tree.flatten(inputs),
                operation_fn=lambda inner: functools.partial(
                    _emit, graph, inner
                ),
            )
    if isinstance(layer, keras.Sequential):
        (x,) = inputs
        with graph.scope(layer.name):
            for inner in layer.layers:
                x = _emit(graph, inner, x)
        return x
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
    specs = keras.tree.flatten(layer.compute_output_spec(*specs))
    for name, spec in zip(keras.tree.flatten(output), specs, strict=True):
        graph.shapes[name] = spec.shape
    return output
