"""Steps of an optimizer on several TensorFlow devices, as one would make."""

import tensorflow as tf
from tensorflow.__internal__.distribute.interim import maybe_merge_call


class MirroredSteps:
    """Replaces the part of an optimizer that applies gradients.

    Keras 3.15 clips each device's gradients, then adds them up, where one
    device would clip the sum; and its accumulation leaves the devices in a
    branch of the graph, which TensorFlow refuses. Here gradients are added
    up first, and each device branches for itself.

    Args:
        optimizer: `keras.optimizers.Optimizer`.

    Call arguments:
        gradients: list of tensors, of one device, without `None`.
        variables: list of `keras.Variable`.
    """

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def __call__(self, gradients, variables):
        replica = tf.distribute.get_replica_context()
        gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if self.optimizer.gradient_accumulation_steps:
            self._accumulate(gradients, variables)
            return
        optimizer = self.optimizer
        gradients = optimizer._clip_gradients(gradients)
        optimizer._apply_weight_decay(variables)
        maybe_merge_call(
            optimizer._distributed_tf_update_step,
            optimizer._distribution_strategy,
            [(g, v.value) for g, v in zip(gradients, variables, strict=True)],
            optimizer.learning_rate,
        )

    def _accumulate(self, gradients, variables):
        optimizer = self.optimizer
        steps = optimizer.gradient_accumulation_steps
        places = [optimizer._get_variable_index(v) for v in variables]
        accumulators = [
            optimizer._accumulated_gradients[place].value for place in places
        ]
        totals = [a + g for a, g in zip(accumulators, gradients, strict=True)]
        means = optimizer._clip_gradients([total / steps for total in totals])
        values = [v.value for v in variables]
        maybe_merge_call(
            self._update,
            optimizer._distribution_strategy,
            list(zip(values, means, accumulators, totals, strict=True)),
            optimizer.learning_rate,
            (optimizer._iterations.value + 1) % steps == 0,
        )

    def _update(self, strategy, rows, learning_rate, is_last):
        """Assigns every device's copy of the variables."""
        for variable, mean, accumulator, total in rows:
            strategy.extended.update(
                variable,
                self._step,
                args=(mean, learning_rate, is_last),
                group=False,
            )
            strategy.extended.update(
                accumulator, _keep, args=(total, is_last), group=False
            )

    def _step(self, variable, mean, learning_rate, is_last):
        optimizer = self.optimizer

        def step():
            if optimizer.weight_decay and optimizer._use_weight_decay(variable):
                rate = tf.cast(learning_rate, variable.dtype)
                variable.assign_sub(variable * optimizer.weight_decay * rate)
            optimizer.update_step(mean, variable, learning_rate)
            return 0

        tf.cond(is_last, step, lambda: 0)


def _keep(accumulator, total, is_last):
    """Starts anew after the last of the accumulated gradients."""
    accumulator.assign(tf.where(is_last, tf.zeros_like(total), total))
