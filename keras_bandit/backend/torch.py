"""Recurrences on PyTorch, ATen's own GRU and LSTM, and a faster `take`.

ATen's run oneDNN or cuDNN kernels where those exist, and take our gate order as
it is. On the CPU the GRU is our own (`torch_gru.py`).
"""

import operator

import numpy as np
import torch
from keras.layers import Conv1DTranspose, Conv2DTranspose
from keras.ops import convert_to_tensor

from keras_bandit.backend.torch_gru import TrainableGRU, gru_on_cpu


def bidirectional_gru(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
    arguments = (inputs, kernel, recurrent_kernel, bias, recurrent_bias)
    if _runs_step_by_step(arguments):
        if _needs_gradient(arguments):
            return TrainableGRU.apply(*arguments)[0]
        return gru_on_cpu(*arguments)
    weights = _flat_weights(kernel, recurrent_kernel, bias, recurrent_bias)
    state = _zero_state(inputs, recurrent_kernel)
    return torch.gru(inputs, state, weights, *_OPTIONS)[0]


def bidirectional_lstm(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
    weights = _flat_weights(kernel, recurrent_kernel, bias, recurrent_bias)
    state = _zero_state(inputs, recurrent_kernel)
    return torch.lstm(inputs, (state, state), weights, *_OPTIONS)[0]


def lstm(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
    weights = [kernel.T, recurrent_kernel.T, bias, recurrent_bias]
    state = inputs.new_zeros(1, inputs.shape[1], recurrent_kernel.shape[0])
    options = (True, 1, 0.0, True, False, False)
    return torch.lstm(inputs, (state, state), weights, *options)[0]


def _runs_step_by_step(arguments):
    """Whether our loop in Python is right: full precision on a CPU, not traced.

    A compiler or an exporter would unroll it. Half precision would lose more
    in it than in ATen's.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return not traced and all(
        argument.device.type == "cpu"
        and argument.dtype in (torch.float32, torch.float64)
        for argument in arguments
    )


def _needs_gradient(arguments):
    return torch.is_grad_enabled() and any(
        argument.requires_grad for argument in arguments
    )


# has_biases, num_layers, dropout, train, bidirectional, batch_first
_OPTIONS = (True, 1, 0.0, True, True, False)


def _zero_state(inputs, recurrent_kernel):
    return inputs.new_zeros(2, inputs.shape[1], recurrent_kernel.shape[1])


def _flat_weights(kernel, recurrent_kernel, bias, recurrent_bias):
    """The eight tensors that ATen wants, as views of ours.

    ATen's order is input kernel, recurrent kernel, input bias, recurrent
    bias, first forward, then backward; its kernels have outputs first.
    """
    matrices = (kernel.transpose(1, 2), recurrent_kernel.transpose(1, 2))
    if kernel.is_cuda:
        matrices, (bias, recurrent_bias) = _cudnn_buffer(
            matrices, (bias, recurrent_bias)
        )
    parts = (*matrices, bias, recurrent_bias)
    return [part[direction] for direction in range(2) for part in parts]


def _cudnn_buffer(matrices, biases):
    """Copies the weights into one buffer, in the order of cuDNN.

    All matrices direction by direction, then all biases. Weights that lie
    elsewhere make ATen warn and copy them itself.
    """
    parts = [
        part[direction].reshape(-1)
        for group in (matrices, biases)
        for direction in range(2)
        for part in group
    ]
    views = torch.cat(parts).split([part.numel() for part in parts])
    kernels = [
        [
            views[2 * direction + i].view_as(matrix[direction])
            for direction in range(2)
        ]
        for i, matrix in enumerate(matrices)
    ]
    biases = [[views[4 + i], views[6 + i]] for i in range(2)]
    return kernels, biases


def split(x, sizes):
    # Keras's makes the cuts a tensor, which a GPU has to be waited for.
    return list(torch.split(x, sizes))


# Shorter runs are not worth a copy each.
_SHORTEST_RUN = 8


def take(x, index, axis):
    """Copies runs of neighbours; ATen's gather copies elements one by one."""
    if x.device.type != "cpu":
        raise NotImplementedError
    starts = np.flatnonzero(np.diff(index, prepend=index[:1] - 2) != 1)
    if len(starts) * _SHORTEST_RUN > len(index):
        raise NotImplementedError
    stops = [*starts[1:], len(index)]
    return torch.cat(
        [
            x.narrow(axis, int(index[start]), int(stop - start))
            for start, stop in zip(starts, stops, strict=True)
        ],
        axis,
    )


def lay_out_kernel(variable):
    # That of `channels_last`: outputs, places, inputs.
    axes = len(variable.shape)
    order = (axes - 1, *range(axes - 2), axes - 2)
    back = (*range(1, axes - 1), axes - 1, 0)
    value = variable.value.data
    variable.value.data = value.permute(order).contiguous().permute(back)


def convolution(layer, inputs, call):
    transpose = isinstance(layer, (Conv1DTranspose, Conv2DTranspose))
    sizes, strides = layer.kernel_size, layer.strides
    dilations, padding = layer.dilation_rate, [0] * len(sizes)
    if layer.padding == "same":
        spans = zip(sizes, dilations, strict=True)
        spans = [dilation * (size - 1) for size, dilation in spans]
        padding = [span // 2 for span in spans]
        if transpose or {*strides, *(1 + span % 2 for span in spans)} != {1}:
            return call(inputs)  # both ends differ
    elif transpose and any(map(operator.lt, sizes, strides)):
        return call(inputs)
    axes = len(sizes)
    order = (axes + 1, axes, *range(axes))
    kernel = convert_to_tensor(layer.kernel).permute(order)
    bias = convert_to_tensor(layer.bias)
    function, places = torch.conv2d, (strides, padding, dilations)
    if axes == 1:
        # PyTorch is quicker with an image one pixel high.
        kernel = kernel.unsqueeze(2)
        places = [
            (first, *rest)
            for first, rest in zip((1, 0, 1), places, strict=True)
        ]
    if transpose:
        function, places = (
            torch.conv_transpose2d,
            (*places[:2], 0, 1, places[2]),
        )
    return _as_image(lambda x: function(x, kernel, bias, *places), inputs)


def _as_image(function, inputs):
    """Calls it with `(batch, channels, height, width)`, channels last in memory."""
    image = torch.movedim(inputs, -1, 1)
    if inputs.ndim == 4:
        return torch.movedim(function(image), 1, -1)
    return torch.movedim(function(image.unsqueeze(2)).squeeze(2), 1, -1)


def group_norm(layer, inputs, call):
    gamma, beta = map(convert_to_tensor, (layer.gamma, layer.beta))
    options = (layer.groups, gamma, beta, layer.epsilon)
    return _as_image(lambda x: torch.group_norm(x, *options), inputs)


def _complex(x):
    """Pairs of floats as complex numbers, the same memory where possible."""
    x = x.contiguous()
    if x.storage_offset() % 2:
        x = x.clone()
    return torch.view_as_complex(x)


def complex_product(x, y):
    return torch.view_as_real(_complex(x) * _complex(y))


def rfft(x):
    return torch.view_as_real(torch.fft.rfft(x))


def irfft(x):
    return torch.fft.irfft(_complex(x))
