"""What a score is a score of: the model, and the versions that computed it."""

import hashlib
import sys

from keras_bandit.common.versions import versions

# Options that weights do not show, described where they are on.
_LEVELS = ("normalize_recording", "standardize_spectrogram")


def describe_model(separator):
    """What tells an `AudioSeparator` from others: a dict for JSON."""
    digest = hashlib.sha256()
    for weight in separator.get_weights():
        digest.update(weight.tobytes())
    return {
        "class": type(separator).__name__,
        "stems": list(separator.stems),
        "sample_rate": separator.sample_rate,
        "dtype": ", ".join(sorted(_dtypes(separator))),
        "parameters": separator.count_params(),
        "weights_sha256": digest.hexdigest(),
        **{k: v for k, v in vars(separator).items() if k in _LEVELS and v},
    }


def _dtypes(layer):
    """Names of the dtype policies of a model's layers that have weights."""
    if not layer.weights:
        return set()
    inner = getattr(layer, "layers", None)
    if inner is None:
        return {layer.dtype_policy.name}
    return set().union(*map(_dtypes, inner))


def versions_of(engine):
    """Versions of what computes: `"keras"`, or another engine's package."""
    names = ["keras-bandit", "numpy"]
    keras = sys.modules.get("keras")
    if keras is not None:  # loaded if the model is Keras's
        names += ["keras", keras.backend.backend()]
    return versions(*names, *[engine] * (engine != "keras"))
