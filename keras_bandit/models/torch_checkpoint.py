"""PyTorch's layers as ours: which tensors a layer's variables are made of.

A list of pairs `(variable, names)`. Every tensor of PyTorch has its axes the
other way round, but for the two of a two-dimensional kernel's place. Two names
are a recurrence's directions.
"""

import numpy as np


def dense_pairs(layer, name):
    """Of a `Dense` without bias, and `name.weight`."""
    return [(layer.kernel, [f"{name}.weight"])]


def batch_norm_pairs(layer, name):
    """Of a `BatchNorm`, and PyTorch's under `name`."""
    names = {
        "weight": layer.gamma,
        "bias": layer.beta,
        "running_mean": layer.moving_mean,
        "running_var": layer.moving_variance,
    }
    return [(value, [f"{name}.{key}"]) for key, value in names.items()]


def lstm_pairs(stack, name):
    """Of an `LSTMStack`, and the `torch.nn.LSTM` under `name`."""
    directions = ["", "_reverse"] if stack.bidirectional else [""]
    return [
        (variable, [f"{name}.{key}_l{i}{end}" for end in directions])
        for i, layer in enumerate(stack.recurrent)
        for key, variable in {
            "weight_ih": layer.kernel,
            "weight_hh": layer.recurrent_kernel,
            "bias_ih": layer.bias,
            "bias_hh": layer.recurrent_bias,
        }.items()
    ]


def to_variable(names, tensors):
    """A variable's value."""
    parts = [_reversed(tensors[name]) for name in names]
    return np.stack(parts) if len(parts) > 1 else parts[0]


def _reversed(array):
    """Axes the other way round, but for the two of a kernel's place."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def _torch_shape(shape):
    if len(shape) == 4:
        return (*shape[:1:-1], *shape[:2])
    return shape[::-1]


def assign(pairs, tensors, ignored=()):
    """Gives variables the values of a checkpoint, all of them or none.

    Args:
        pairs: list of `(variable, names)`.
        tensors: `{name: float32 array}`.
        ignored: names that may be there and are not used, beside the counters
            of batch normalization.

    Raises:
        ValueError: with all tensors that are missing, unexpected or misshapen.
    """
    problems, known = [], set(ignored)
    for variable, names in pairs:
        known.update(names)
        shape = _torch_shape(tuple(variable.shape)[len(names) - 1 :])
        for name in names:
            if name not in tensors:
                problems.append(f"{name} is missing")
            elif tensors[name].shape != shape:
                problems.append(
                    f"{name} must have shape {shape}; got {tensors[name].shape}"
                )
    problems += [
        f"{name} is unexpected"
        for name in tensors
        if name not in known and not name.endswith(".num_batches_tracked")
    ]
    if problems:
        raise ValueError("checkpoint does not fit: " + "; ".join(problems))
    for variable, names in pairs:
        variable.assign(to_variable(names, tensors))
