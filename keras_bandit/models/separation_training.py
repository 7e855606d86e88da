"""How separators are trained and run: Keras's loops, losses per domain."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from keras_bandit.backend.trainer import (
    build_optimizer,
    keeps_variables,
    tracing_pays_off,
)
from keras_bandit.losses import WAVEFORM, SeparationLoss, check_stems
from keras_bandit.metrics import SeparationMetric
from keras_bandit.models.grain_datasets import as_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from keras_bandit.common.types import Config, Tensor


def is_dataset(x):
    """Whether `x` brings its own order: `tf.data`, grain, `DataLoader`."""
    packages = {base.__module__.partition(".")[0] for base in type(x).__mro__}
    known = packages & {"tensorflow", "grain", "torch"}
    return bool(known) and not hasattr(x, "shape")


def _asking_for_domains(args):
    """Arguments of a step (on JAX the state, then data), input in a list."""
    *state, data = args
    x, *targets = keras.utils.unpack_x_y_sample_weight(data)
    return (*state, ([x], *targets))


def predict_on_batch(model, x):
    """`keras.Model.predict_on_batch`, which several JAX devices share.

    In the scope of a `keras.distribution`, Keras 3.15 has each device compute
    the whole batch. Here each computes its part, of a batch of any size. The
    first axes of outputs must be the batch or multiples of it.
    """
    predict = keras.Model.predict_on_batch
    distribution = keras.distribution.distribution()
    if distribution is None:
        return predict(model, x)
    mesh = distribution.device_mesh
    count = mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]
    size = keras.tree.flatten(x)[0].shape[0]
    padded = -(-size // count) * count
    items = np.minimum(np.arange(padded), size - 1)  # repeats the last one

    def deal(array):
        array = np.asarray(array)[items]
        layout = distribution.get_data_layout(array.shape)
        return keras.distribution.distribute_tensor(array, layout)

    return keras.tree.map_structure(
        lambda y: y[: len(y) * size // padded],
        predict(model, keras.tree.map_structure(deal, x)),
    )


class SeparationTraining:
    """What models with an output for each stem add to a `keras.Model`.

    A loss of `keras_bandit.losses` sees further domains beside the waveforms;
    metrics of `keras_bandit.metrics` are logged for each stem; `fit`,
    `evaluate` and `predict` take every kind of data.

    For functional models, named after this class, whose outputs are
    `{"waveform": {stem: …}, domain: {stem: …}, …}` and that have `stems` and
    `domains(waveforms)`. One graph serves both uses: called with its input a
    model returns the waveforms, called with a list of its input all domains.
    Steps of training and evaluation call it the second way.
    """

    preprocessor = None

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor = None
    ) -> Tensor:
        if isinstance(inputs, list):
            return super().call(inputs[0], training=training, mask=mask)
        return super().call(inputs, training=training, mask=mask)[WAVEFORM]

    def compute_output_spec(
        self, inputs: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        if isinstance(inputs, list):
            return super().compute_output_spec(inputs[0], *args, **kwargs)
        outputs = super().compute_output_spec(inputs, *args, **kwargs)
        return outputs[WAVEFORM]

    def train_step(self, *args: Any) -> Any:
        return super().train_step(*_asking_for_domains(args))

    def test_step(self, *args: Any) -> Any:
        return super().test_step(*_asking_for_domains(args))

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        metrics = metrics or []
        if not isinstance(metrics, (dict, list, tuple)):
            metrics = [metrics]
        own, other = [], metrics
        if not isinstance(metrics, dict):
            own = [m for m in metrics if isinstance(m, SeparationMetric)]
            other = [m for m in metrics if not isinstance(m, SeparationMetric)]
        super().compile(
            optimizer=optimizer, loss=loss, metrics=other or None, **kwargs
        )
        own = [
            type(m).from_config({**m.get_config(), "stems": self.stems})
            for m in own
        ]
        # Not tracked: a recompiled model would keep the former metrics.
        object.__setattr__(self, "_separation_metrics", own)
        if isinstance(loss, SeparationLoss):
            # `compute_loss` calls the loss itself. Left unbuilt, Keras would
            # run the whole model symbolically before every `fit`.
            self._compile_loss.built = True

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*super().metrics, *getattr(self, "_separation_metrics", [])]

    def get_compile_config(self) -> Config:
        config = super().get_compile_config()
        if config:
            # A file is read with the optimizer built (below), and Keras warns
            # where its variables were not saved.
            build_optimizer(self)
        own = getattr(self, "_separation_metrics", [])
        if config and own:
            own = [keras.saving.serialize_keras_object(m) for m in own]
            config["metrics"] = [*(config.get("metrics") or []), *own]
        return config

    def compile_from_config(self, config: Config) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            build_optimizer(self)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        targets = self._targets(y)
        if not isinstance(self.loss, SeparationLoss):
            y_pred = y_pred.get(WAVEFORM, y_pred)
            return super().compute_loss(
                x, targets, y_pred, sample_weight, training
            )
        domains = keras.tree.map_structure(
            ops.stop_gradient, self.domains(targets)
        )
        targets = {WAVEFORM: targets, **domains}
        return sum(
            (self._aggregate_additional_loss(extra) for extra in self.losses),
            start=self.loss(targets, y_pred, sample_weight),
        )

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        targets = self._targets(y)
        y_pred = y_pred.get(WAVEFORM, y_pred)
        for metric in self._separation_metrics:
            metric.update_state(targets, y_pred, sample_weight)
        return super().compute_metrics(x, targets, y_pred, sample_weight)

    def _targets(self, y):
        """The targets of this model's stems, in their order."""
        if not isinstance(y, dict):
            raise ValueError(
                f"targets must be a dict with stems {self.stems}; got "
                f"{type(y).__name__}"
            )
        check_stems(y, self.stems)
        return {stem: y[stem] for stem in self.stems}

    # KerasHub's own methods apply a preprocessor, but refuse `PyDataset`,
    # generators and `DataLoader`, and dicts of targets for one batch. Keras's
    # take all of these.

    def _keras_or_hub(self, method, x, *args, **kwargs):
        if self.preprocessor is not None:
            function = getattr(super(), method)
        else:
            function = functools.partial(getattr(keras.Model, method), self)
        with keeps_variables(self):
            return function(x, *args, **kwargs)

    def fit(
        self, x: Any = None, y: Any = None, **kwargs: Any
    ) -> keras.callbacks.History:
        if is_dataset(x):
            # Keras's default, True, only makes it warn.
            kwargs.setdefault("shuffle", False)
        if self.preprocessor is None:
            epochs = kwargs.get("epochs", 1)
            x, kwargs["steps_per_epoch"] = as_steps(
                x, kwargs.get("steps_per_epoch"), epochs, "steps_per_epoch"
            )
            kwargs["validation_data"], kwargs["validation_steps"] = as_steps(
                kwargs.get("validation_data"),
                kwargs.get("validation_steps"),
                epochs,
                "validation_steps",
            )
        build_optimizer(self)
        return self._keras_or_hub("fit", x, y=y, **kwargs)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        steps: int | None = None,
        **kwargs: Any,
    ) -> Any:
        if self.preprocessor is None:
            x, steps = as_steps(x, steps)
        return self._keras_or_hub("evaluate", x, y=y, steps=steps, **kwargs)

    def predict(
        self, x: Any = None, steps: int | None = None, **kwargs: Any
    ) -> dict[str, np.ndarray]:
        if self.preprocessor is None:
            x, steps = as_steps(x, steps)
        return self._keras_or_hub("predict", x, steps=steps, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, **kwargs: Any) -> Any:
        build_optimizer(self)
        return self._keras_or_hub("train_on_batch", x, y=y, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, **kwargs: Any) -> Any:
        return self._keras_or_hub("test_on_batch", x, y=y, **kwargs)

    def predict_on_batch(self, x: Any) -> dict[str, np.ndarray]:
        shape = tuple(getattr(x, "shape", ()))
        if 0 in shape:
            raise ValueError(
                "waveform must be (batch, channels, samples) with no axis "
                f"empty; got shape {shape}"
            )
        if self.preprocessor is not None:
            return self._keras_or_hub("predict_on_batch", x)
        with keeps_variables(self):
            return predict_on_batch(self, x)

    def predictor(self, calls: int) -> Callable[[Any], dict[str, np.ndarray]]:
        """The faster prediction function for `calls` batches of one shape.

        `predict_on_batch`, or for the first few batches of this model a
        function that returns the same without compiling.
        """
        calls += getattr(self, "_untraced_calls", 0)
        if self.preprocessor is not None or tracing_pays_off(self, calls):
            return self.predict_on_batch
        object.__setattr__(self, "_untraced_calls", calls)
        return lambda x: keras.tree.map_structure(
            ops.convert_to_numpy, self(x, training=False)
        )
