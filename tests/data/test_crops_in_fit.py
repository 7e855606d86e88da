"""Random crops in `fit`: every epoch has its own, also after a stop."""

import numpy as np
import pytest
from keras import ops

from keras_bandit.data import random_crops
from keras_bandit.data.track import ArrayTrack

from ..conv_separator import ConvSeparator

pytest.importorskip("grain")  # the extra `grain`


def test_fit_sees_every_epoch():
    """The loss is the mean of the targets, so its history tells the batches."""
    rng = np.random.default_rng(0)
    tracks = [
        ArrayTrack(f"track{i}", 8000, {"speech": audio})
        for i, audio in enumerate(rng.normal(0, 1, (3, 1, 4000)))
    ]
    arguments = {"crop_seconds": 0.1, "batch_size": 2, "epoch_size": 10}
    dataset = random_crops(tracks, ["speech"], **arguments)
    expected = [
        np.mean([dataset[5 * epoch + i][1]["speech"].mean() for i in range(5)])
        for epoch in range(3)
    ]
    assert len({round(x, 6) for x in expected}) == 3
    model = ConvSeparator(["speech"])
    model.compile(
        "sgd",
        loss=lambda target, estimate: (
            ops.mean(target, (1, 2)) + 0 * ops.mean(estimate, (1, 2))
        ),
    )
    # An endless one is what workers give, which only cost the test time.
    endless = dataset.repeat().to_iter_dataset()
    for data, steps in ((dataset, None), (dataset, 5), (endless, 5)):
        history = model.fit(
            data, epochs=3, steps_per_epoch=steps, verbose=0
        ).history
        # float32 means of 1,600 samples of order 1.
        np.testing.assert_allclose(history["loss"], expected, atol=1e-6)
    resumed = random_crops(tracks, ["speech"], **arguments, start_epoch=2)
    history = model.fit(resumed, epochs=3, initial_epoch=2, verbose=0).history
    np.testing.assert_allclose(history["loss"], expected[2:], atol=1e-6)
