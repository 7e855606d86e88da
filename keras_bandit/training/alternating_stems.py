"""Training with a few of the decoders at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_bandit.common.checks import check_whole
from keras_bandit.metrics import SeparationMetric

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def _separation_metrics(separator):
    """The separator's metrics that have a value for each stem."""
    return [m for m in separator.metrics if isinstance(m, SeparationMetric)]


class _SubsetOptimizer:
    """Lets JAX's training step use an optimizer for some of its variables.

    Keras's `stateless_apply` wants gradients of all variables that the
    optimizer was built with; its `apply` takes some of them.
    """

    def __init__(self, optimizer, variables):
        self.subset = list(variables)
        self.variables = optimizer.variables
        self.scale_loss = optimizer.scale_loss
        self.apply = optimizer.apply

    def stateless_apply(self, optimizer_variables, grads, trainable_variables):
        mapping = [
            *zip(self.subset, trainable_variables, strict=True),
            *zip(self.variables, optimizer_variables, strict=True),
        ]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            self.apply(grads, self.subset)
        value = scope.get_current_value
        return [*map(value, self.subset)], [*map(value, self.variables)]


class _Learner:
    """A separator of some stems; `step` replaces the whole's training step."""

    def __init__(self, separator, stems):
        self.separator, self.stems = separator, stems
        self.model = separator.with_stems(stems)
        self.model.compile(
            separator.optimizer,
            loss=separator.loss,
            metrics=_separation_metrics(separator),
            jit_compile=separator.jit_compile,
            run_eagerly=separator.run_eagerly,
            # The optimizer given is scaling already, if any is.
            auto_scale_loss=False,
        )
        self.prepare()
        self.model.make_train_function()
        self.function = self.model.train_function

    def prepare(self):
        """Before the training step is made."""

    def step(self, data):
        if keras.config.backend() == "torch":
            # Gradients add up until they are cleared. Keras clears those of
            # a model that was built by `fit`, which the learner's was not.
            self.separator.zero_grad()
        return self.function(data)

    def begin_epoch(self):
        self.steps = 0
        self.model.reset_metrics()

    def results(self):
        results = self.model.get_metrics_result()
        return {name: float(value) for name, value in results.items()}


class _JaxLearner(_Learner):
    """The same on JAX, where a step takes all state and returns it."""

    def prepare(self):
        model, optimizer = self.model, self.separator.optimizer
        model.optimizer = _SubsetOptimizer(optimizer, model.trainable_variables)
        self.whole, self.part = _groups(self.separator), _groups(model)

    def step(self, state, iterator):
        values = dict(self.metrics)
        for group, own in zip(self.whole, state, strict=True):
            values.update(zip(group, own, strict=True))
        logs, new = self.function(
            tuple([values[i] for i in group] for group in self.part), iterator
        )
        for group, own in zip(self.part, new, strict=True):
            values.update(zip(group, own, strict=True))
        self.metrics = {i: values[i] for i in self.metrics}
        return logs, tuple([values[i] for i in group] for group in self.whole)

    def begin_epoch(self):
        super().begin_epoch()
        # The values of the model's own metrics, which are not in the state.
        self.metrics = {id(v): v.value for v in self.model.metrics_variables}

    def results(self):
        for variable in self.model.metrics_variables:
            variable.assign(self.metrics[id(variable)])
        return super().results()


def _groups(model):
    """Identities of the variables in each part of a JAX trainer's state."""
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    return [[id(variable) for variable in group] for group in groups]


class AlternatingStems(keras.callbacks.Callback):
    """Trains one subset of the decoders at each step, alternating over them.

    "Simultaneous training can still be approximated by only attaching a
    subset of the decoders at each optimization step and alternating over
    them" (BandIt, Sec. III-A), where not all decoders fit into memory. The
    encoder learns at every step. A decoder that is not attached is not
    computed: its weights and their optimizer state stay as they are. Adam's
    bias correction counts all steps.

    A callback for the `fit` of an `AudioSeparator` compiled with a loss of
    `keras_bandit.losses`; `evaluate` and validation see all stems. The
    epoch's logs are means over the steps that computed a stem; `loss` is
    scaled to the sum over all stems.

    Example:

    ```python
    from keras_bandit.training import AlternatingStems

    alternate = AlternatingStems([["speech"], ["music", "effects"]])
    alternate.turn(epoch=0, step=1, count=2)  # 1: music and effects
    # separator.fit(train, callbacks=[alternate], …)
    ```

    Args:
        subsets: list of lists of the separator's stems that take turns, each
            stem in one or more; `None`: every stem alone.
        steps_per_turn: int. Steps that a subset stays; a multiple of the
            optimizer's `gradient_accumulation_steps`. Turns come in the order
            given, in each epoch from the next one.

    Raises:
        ValueError: if `subsets` or `steps_per_turn` are not as said.
    """

    def __init__(
        self,
        subsets: Sequence[Sequence[str]] | None = None,
        steps_per_turn: int = 1,
    ) -> None:
        super().__init__()
        self.subsets = subsets
        self.steps_per_turn = check_whole("steps_per_turn", steps_per_turn, 1)
        # What the learners were made of, to keep them from `fit` to `fit`.
        self._compiled = None

    def _check(self, separator, subsets):
        if set().union(*subsets) != set(separator.stems):
            raise ValueError(
                f"subsets must hold the separator's stems {separator.stems}, "
                f"each in one or more; got {subsets}"
            )
        accumulated = separator.optimizer.gradient_accumulation_steps or 1
        steps = (self.params or {}).get("steps") or accumulated
        if self.steps_per_turn % accumulated or steps % accumulated:
            raise ValueError(
                "steps_per_turn and the steps of an epoch must be multiples "
                f"of gradient_accumulation_steps={accumulated}; got "
                f"steps_per_turn={self.steps_per_turn} and {steps} steps"
            )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        separator = self.model
        subsets = self.subsets or [[stem] for stem in separator.stems]
        self._check(separator, subsets)
        if not separator.optimizer.built:
            # Else the first subset's variables would be all it knows.
            separator.optimizer.build(separator.trainable_variables)
        self._all_stems_step = separator.train_function
        compiled = (separator, separator.optimizer, separator.loss, subsets)
        if compiled != self._compiled:
            on_jax = keras.config.backend() == "jax"
            kind = _JaxLearner if on_jax else _Learner
            self._learners = [kind(separator, stems) for stems in subsets]
            self._compiled = compiled

    def turn(self, epoch: int, step: int, count: int) -> int:
        """Which of `count` subsets is trained at a step of an epoch."""
        return (epoch + step // self.steps_per_turn) % count

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._epoch = epoch
        for learner in self._learners:
            learner.begin_epoch()

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        number = self.turn(self._epoch, batch, len(self._learners))
        learner = self._learners[number]

        def step(*args):
            # For one call, so that a failed step leaves nothing behind.
            self._model.train_function = self._all_stems_step
            learner.steps += 1
            return learner.step(*args)

        # Not `self.model`, which on JAX would copy all state back each time.
        self._model.train_function = step

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        learners = [x for x in self._learners if x.steps]
        results = [learner.results() for learner in learners]
        for name in {*self.model.get_metrics_result(), *results[0]}:
            logs.pop(name, None)
        logs.update(self._merge(learners, results))

    def _merge(self, learners, results):
        """The epoch's logs, from those of the learners that had a turn."""

        def means(value):
            """For each stem that was computed, over its steps."""
            found = {}
            for stem in self.model.stems:
                own = [
                    (learner.steps, value(stem, learner, result))
                    for learner, result in zip(learners, results, strict=True)
                    if stem in learner.stems
                ]
                if own:
                    steps, values = zip(*own, strict=True)
                    found[stem] = float(np.average(values, weights=steps))
            return found

        # A stem's share of a subset's loss; the sum over a partition is that
        # of its losses.
        shares = means(lambda _, x, result: result["loss"] / len(x.stems))
        mean_share = float(np.mean([*shares.values()]))
        merged = {"loss": mean_share * len(self.model.stems)}
        for metric in _separation_metrics(self.model):
            name = metric.name
            values = means(lambda s, _, result, n=name: result[f"{n}_{s}"])
            merged[name] = float(np.mean([*values.values()]))
            merged |= {f"{name}_{s}": v for s, v in values.items()}
        return merged
