"""What all tests share: seeds and golden data."""

import ctypes
import gc
import os
import pathlib
import sys

import numpy as np
import pytest

# Tests make the same small models again and again, and without a cache on disk
# JAX compiles every one of them anew: most of the suite's time.
CACHE = pathlib.Path(__file__).parents[1] / ".pytest_cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# LLVM's passes and the lowering through MLIR are most of that time; XLA's own
# passes are as users have them.
FLAGS = "--xla_backend_optimization_level=0"
FLAGS += " --xla_llvm_disable_expensive_passes=true"
FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", FLAGS)

# Nor does each operation have to know the lines of Python that made it.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

# The user's own cache of exported cores is not for tests.
os.environ["KERAS_BANDIT_CACHE"] = str(CACHE.parent / "keras-bandit")

# Tests that import OpenVINO themselves report nothing to its makers either.
sys.modules.setdefault("openvino_telemetry", None)

GOLDEN = pathlib.Path(__file__).parent / "golden"


def backend():
    """Keras's backend; `None` without Keras."""
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    return None


def pytest_collection_finish():
    """What is imported stays: the collector need not look at it each time.

    Nor so often: tracing makes objects by the million.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.fixture(autouse=True)
def seeded():
    """Initial weights do not depend on which tests ran before."""
    if backend() is not None:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def memory_given_back(monkeypatch):
    """Training runs and commands tune their process: not that of all tests.

    With freed memory kept, that of TensorFlow's suite held 8.7 GB.
    """
    name = "keras_bandit.backend.process._keep_freed_memory"
    monkeypatch.setattr(name, lambda: None)


@pytest.fixture(autouse=True, scope="session")
def graphs_as_traced():
    """TensorFlow runs graphs as they are, without its optimizer of graphs.

    It takes an eighth of a graph's first call. Graphs that are compared with
    the authors' are optimized as users have them (convert/test_parity.py).
    """
    if backend() == "tensorflow":
        optimize_graphs(False)


def optimize_graphs(on):
    """Whether TensorFlow optimizes graphs from now on."""
    options = {"disable_meta_optimizer": not on}
    sys.modules["tensorflow"].config.optimizer.set_experimental_options(options)


@pytest.fixture(autouse=True)
def gradients_forgotten():
    """Models of one test do not stay in memory during the next ones.

    TensorFlow (2.21) keeps the function of each `tf.custom_gradient` for good
    and with it the graph it was made in, that of every training step too:
    Keras's optimizers sum gradients over devices by such a function.
    """
    yield
    ops = sys.modules.get("tensorflow.python.framework.ops")
    if ops is not None:
        registered = ops.gradient_registry._registry
        for name in [n for n in registered if n.startswith("CustomGradient-")]:
            del registered[name]


def resident_gib():
    """Memory of this process; infinite where it is not known."""
    try:
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
    except OSError:
        return float("inf")
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


@pytest.fixture(autouse=True, scope="module")
def freed():
    """Models of one file do not stay in memory during the next ones."""
    yield
    if backend() is not None:
        sys.modules["keras"].backend.clear_session()
        if backend() == "jax" and resident_gib() > 3:
            # Compiled for shapes that come no more: gigabytes in all. But
            # operations come again, and without the caches are traced again.
            sys.modules["jax"].clear_caches()
        gc.collect()
        if sys.platform.startswith("linux"):
            # What was freed in between is given back as well (glibc): two
            # suites that ran together had grown to 7 GB each.
            getattr(ctypes.CDLL(None), "malloc_trim", int)(0)


@pytest.fixture(scope="session")
def golden():
    """Loads a golden file by name: `golden("bandit_v1_mel16")`."""
    return lambda name: dict(np.load(GOLDEN / f"{name}.npz"))


@pytest.fixture(scope="session")
def checkpoint():
    """Path of a golden checkpoint: `checkpoint("bandit_v1_mel16")`."""
    return lambda name: GOLDEN / f"{name}.ckpt"
