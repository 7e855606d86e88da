"""A GRU on PyTorch for the CPU, with a gradient by hand.

ATen's GRU on the CPU takes some ten operations a step, and autograd adds to each
of them copies, zero-filled buffers and sums. Here a step is eight operations
forwards and seventeen backwards, all on tensors of one step, which stay in
the processor's cache; only the gates are kept from the one pass to the other.
oneDNN computes the products. `docs/performance.md` compares the times.
"""

import torch
from torch.autograd.function import once_differentiable

from keras_bandit.backend.onednn_products import onednn_products


def gru_on_cpu(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
    """`bidirectional_gru` of `keras_bandit.backend`, without a gradient."""
    arguments = (inputs, kernel, recurrent_kernel, bias, recurrent_bias)
    with torch.no_grad(), onednn_products():
        return _run_both(*arguments, keep=False)[0]


class TrainableGRU(torch.autograd.Function):
    """`bidirectional_gru`, to be differentiated, for float32 and float64.

    Returns, beside the outputs, what the gradient needs: the gates `(2,
    steps, batch, 3 * units)` and the candidates `(2, steps, batch, units)`
    of `_run`. Second derivatives raise PyTorch's error for functions that
    are differentiable once.
    """

    @staticmethod
    def forward(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
        arguments = (inputs, kernel, recurrent_kernel, bias, recurrent_bias)
        with onednn_products():
            return _run_both(*arguments, keep=True)

    @staticmethod
    def setup_context(context, inputs, output):
        outputs, gates, candidates = output
        context.mark_non_differentiable(gates, candidates)
        context.set_materialize_grads(False)
        context.save_for_backward(*inputs[:3], outputs, gates, candidates)

    @staticmethod
    @once_differentiable
    def backward(context, cotangent, *_):
        inputs, kernel, recurrent_kernel, outputs, gates, candidates = (
            context.saved_tensors
        )
        steps, units = len(inputs), recurrent_kernel.shape[1]
        grad_inputs = torch.zeros_like(inputs)
        grad_weights = []
        with onednn_products():
            for direction in range(2):
                half = slice(direction * units, (direction + 1) * units)
                grad_weights.append(
                    _run_back(
                        inputs,
                        kernel[direction],
                        recurrent_kernel[direction],
                        _times(steps, direction),
                        outputs[..., half],
                        gates[direction],
                        candidates[direction],
                        cotangent[..., half],
                        grad_inputs,
                    )
                )
        return grad_inputs, *map(torch.stack, zip(*grad_weights, strict=True))


def _run_both(inputs, kernel, recurrent_kernel, bias, recurrent_bias, keep):
    """Both directions: outputs, and all gates and candidates if `keep`.

    Otherwise each step overwrites those of the step before.
    """
    steps, batch, _ = inputs.shape
    units = recurrent_kernel.shape[1]
    kept = steps if keep else 1
    outputs = inputs.new_empty(steps, batch, 2 * units)
    gates = inputs.new_empty(2, kept, batch, 3 * units)
    candidates = inputs.new_empty(2, kept, batch, units)
    for direction in range(2):
        _run(
            inputs,
            kernel[direction],
            recurrent_kernel[direction],
            bias[direction],
            recurrent_bias[direction],
            _times(steps, direction),
            outputs[..., direction * units : (direction + 1) * units],
            gates[direction].expand(steps, -1, -1),
            candidates[direction].expand(steps, -1, -1),
        )
    return outputs, gates, candidates


def _times(steps, direction):
    """Indices in time in the order in which a direction takes them."""
    return range(steps) if direction == 0 else range(steps)[::-1]


def _run(
    inputs,
    kernel,
    recurrent_kernel,
    bias,
    recurrent_bias,
    times,
    outputs,
    gates,
    candidates,
):
    """One direction, in the order of `times`: fills the last three arguments.

    `outputs` `(steps, batch, units)`; `gates` `(steps, batch, 3 * units)`: r,
    z and n side by side; `candidates` `(steps, batch, units)`: U_n h + c_n.
    """
    units = len(recurrent_kernel)
    kernel, bias = kernel.clone(), bias.clone()
    bias[: 2 * units] += recurrent_bias[: 2 * units]
    recurrent_bias = recurrent_bias[2 * units :]
    to_sigmoids = recurrent_kernel[:, : 2 * units].contiguous()
    to_candidate = recurrent_kernel[:, 2 * units :].contiguous()
    # tanh x = 2 sigmoid(2 x) - 1, since ATen's tanh takes five times as long
    # as its sigmoid; the difference errs by one unit in the last place of 1.
    kernel[:, 2 * units :] *= 2
    bias[2 * units :] *= 2
    state = inputs.new_zeros(inputs.shape[1], units)
    minus_one = torch.full_like(state, -1.0)
    for time in times:
        now, candidate = gates[time], candidates[time]
        torch.addmm(bias, inputs[time], kernel, out=now)
        sigmoids, new = now[:, : 2 * units], now[:, 2 * units :]
        sigmoids.addmm_(state, to_sigmoids).sigmoid_()
        torch.addmm(recurrent_bias, state, to_candidate, out=candidate)
        new.addcmul_(sigmoids[:, :units], candidate, value=2).sigmoid_()
        torch.add(minus_one, new, alpha=2, out=new)
        state = torch.lerp(new, state, sigmoids[:, units:])
        outputs[time] = state


def _run_back(
    inputs,
    kernel,
    recurrent_kernel,
    times,
    outputs,
    gates,
    candidates,
    cotangent,
    grad_inputs,
):
    """One direction's gradient: adds to `grad_inputs`, returns the weights'.

    With d… the gradient of the loss for a quantity, and h' the state before:

        dn = dh (1 - z) (1 - n^2)           for W_n x + b_n + r (U_n h' + c_n)
        dr = dn (U_n h' + c_n) r (1 - r)    for the argument of r's sigmoid
        dz = dh (h' - n) z (1 - z)          for the argument of z's sigmoid
        dh' = dh z + (dr, dz, dn r) U^T

    They lie side by side in `by` `(batch, 4 * units)`: dr, dz, dn r, dn.
    `outputs`, `gates` and `candidates` are those of `_run`, `cotangent` has
    the shape of `outputs`, and `grad_inputs` that of `inputs`.
    """
    units = len(recurrent_kernel)
    batch = inputs.shape[1]
    kernel_sigmoids = kernel[:, : 2 * units].t().contiguous()
    kernel_new = kernel[:, 2 * units :].t().contiguous()
    recurrent_transposed = recurrent_kernel.t().contiguous()

    grad_kernel_sigmoids = kernel.new_zeros(len(kernel), 2 * units)
    grad_kernel_new = kernel.new_zeros(len(kernel), units)
    grad_recurrent = torch.zeros_like(recurrent_kernel)
    grad_biases = inputs.new_zeros(batch, 4 * units)

    by = inputs.new_empty(batch, 4 * units)
    by_sigmoids, by_recurrent = by[:, : 2 * units], by[:, : 3 * units]
    by_reset, by_update, by_scaled, by_new = by.split(units, dim=1)

    zero_state = inputs.new_zeros(batch, units)
    grad_state = inputs.new_zeros(batch, units)
    before = [None, *times[:-1]]
    for time, last in zip(times[::-1], before[::-1], strict=True):
        state = zero_state if last is None else outputs[last]
        now = gates[time]
        reset, update, new = now.split(units, dim=1)
        grad_state += cotangent[time]
        kept = grad_state * update

        torch.sub(state, new, out=by_update)
        by_update.mul_(kept)
        torch.sub(grad_state, kept, out=by_new)
        by_new.addcmul_(by_new, new * new, value=-1)
        torch.mul(by_new, reset, out=by_scaled)
        torch.mul(by_scaled, candidates[time], out=by_reset)
        by_sigmoids.addcmul_(by_sigmoids, now[:, : 2 * units], value=-1)

        grad_biases += by
        grad_recurrent.addmm_(state.t(), by_recurrent)
        grad_kernel_sigmoids.addmm_(inputs[time].t(), by_sigmoids)
        grad_kernel_new.addmm_(inputs[time].t(), by_new)
        grad_inputs[time].addmm_(by_sigmoids, kernel_sigmoids)
        grad_inputs[time].addmm_(by_new, kernel_new)
        grad_state = torch.addmm(kept, by_recurrent, recurrent_transposed)

    grad_biases = grad_biases.sum(0)
    grad_kernel = torch.cat([grad_kernel_sigmoids, grad_kernel_new], 1)
    grad_bias = torch.cat([grad_biases[: 2 * units], grad_biases[3 * units :]])
    return (
        grad_kernel,
        grad_recurrent,
        grad_bias,
        grad_biases[: 3 * units].clone(),
    )
