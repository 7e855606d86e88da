"""What runs an exported core: one small class for each package.

Each is made of a core (path, or bytes of an ONNX file) and the outputs' names,
and called with the inputs by name, float32 arrays; it returns the outputs by
name.
"""

import contextlib
import importlib
import importlib.util
import os
import shutil
import tempfile

from keras_bandit.common.hidden_modules import import_openvino
from keras_bandit.export.description import DamagedExportError

DEVICE = "CPU"

THREADS = "KERAS_BANDIT_THREADS"
"""Environment variable: threads of a runtime; all processors without it."""

# What onnxruntime prefers, where its package and the machine have it.
_PROVIDERS = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    "DmlExecutionProvider",
    "CoreMLExecutionProvider",
    "CPUExecutionProvider",
)


def import_engine(engine):
    """Imports the package of `"openvino"` or `"onnxruntime"`."""
    if engine == "openvino":
        import_openvino()
    else:
        importlib.import_module(engine)


class OpenVINORuntime:
    """Runs a core on OpenVINO, on the processor.

    Compiles it for each shape, in about a second: chunks have one length, for
    which OpenVINO plans memory and kernels. The first shape's stays, and that
    of one more (a recording's last chunk may be short). Other outputs are not
    computed. In bfloat16 are products and recurrences, but for those that the
    exporter marks: normalizations, band split and residual sums, which carry
    the signal, stay in float32. `cache_dir` is for compiled cores, or `None`.

    Raises:
        ImportError: if OpenVINO cannot be imported.
        ValueError: for bfloat16 on a processor without it, or a core that
            OpenVINO cannot read.
    """

    formats = ("onnx", "openvino")
    precisions = ("float32", "bfloat16")

    def __init__(self, core, outputs, precision="float32", cache_dir=None):
        self._openvino = import_openvino()
        check_bfloat16(precision)
        with _reading(core, "OpenVINO"):
            self._model = self._openvino.Core().read_model(core)
            for name in outputs:
                self._model.output(name)
        self._outputs = outputs
        self._precision = precision
        self._cache_dir = cache_dir
        self._requests = {}

    def __call__(self, inputs):
        shapes = tuple((name, x.shape) for name, x in inputs.items())
        if shapes not in self._requests:
            for former in list(self._requests)[1:]:
                del self._requests[former]
            compiled = self._compiled(dict(shapes))
            self._requests[shapes] = compiled.create_infer_request()
        request = self._requests[shapes]
        request.infer(inputs)
        return {name: request.get_tensor(name).data for name in self._outputs}

    def _compiled(self, shapes):
        core = self._openvino.Core()
        model = self._model.clone()
        results = [model.output(name).get_node() for name in self._outputs]
        model = self._openvino.Model(results, model.get_parameters())
        model.reshape({name: list(shape) for name, shape in shapes.items()})
        if self._precision == "bfloat16":
            reduce_products(model)
        options = {
            # OpenVINO would choose bfloat16 where it is fast; ask for float32.
            # Operations converted to bfloat16 in the graph are unaffected.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if THREADS in os.environ:
            options["INFERENCE_NUM_THREADS"] = int(os.environ[THREADS])
            # Else every process takes the first processor.
            options["ENABLE_CPU_PINNING"] = False
        if self._cache_dir is None:
            return core.compile_model(model, DEVICE, options)
        with _staged(os.path.abspath(self._cache_dir)) as staging:
            options["CACHE_DIR"] = staging
            return core.compile_model(model, DEVICE, options)


def capabilities():
    """What OpenVINO can compute fast on this processor, a list of str."""
    core = import_openvino().Core()
    return core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")


def check_bfloat16(precision):
    """Raises `ValueError` unless this processor computes in `precision`."""
    if precision == "bfloat16" and "BF16" not in capabilities():
        name = import_openvino().Core().get_property(DEVICE, "FULL_DEVICE_NAME")
        raise ValueError(
            "precision='bfloat16' needs a processor with AVX512-BF16 or AMX; "
            f"got {name}"
        )


def reduce_products(model):
    """Lets products and recurrences of an OpenVINO model run in bfloat16.

    Their inputs are converted, and their results back. Products in a scope
    `emitters.EXACT` stay as they are.
    """
    openvino = import_openvino()
    from openvino import opset13

    def reduced(output):
        node = output.get_node()
        if node.get_type_name() == "Transpose":
            # Converted before it, so that it can become part of the product.
            values = reduced(node.input_value(0))
            return opset13.transpose(values, node.input_value(1)).output(0)
        return opset13.convert(output, openvino.Type.bf16).output(0)

    for node in model.get_ordered_ops():
        if node.get_type_name() not in (
            "MatMul",
            "GRUSequence",
            "LSTMSequence",
        ):
            continue
        if "float32" in node.get_friendly_name().split("/"):
            continue
        for value in node.inputs():
            source = value.get_source_output()
            if source.get_element_type() == openvino.Type.f32:
                value.replace_source_output(reduced(source))
        node.validate_and_infer_types()
        for output in node.outputs():
            targets = output.get_target_inputs()
            restored = opset13.convert(output, openvino.Type.f32).output(0)
            for target in targets:
                target.replace_source_output(restored)
    model.validate_nodes_and_infer_types()


@contextlib.contextmanager
def _staged(cache_dir):
    """A directory with the cache's files, whose new files join the cache.

    OpenVINO writes a compiled network under its final name. Written here
    and then renamed, a half-written one is never seen.
    """
    os.makedirs(cache_dir, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".") as staging:
        former = {n for n in os.listdir(cache_dir) if n.endswith(".blob")}
        for name in former:
            link = os.path.join(staging, name)
            source = os.path.join(cache_dir, name)
            with contextlib.suppress(FileNotFoundError):
                try:
                    os.link(source, link)
                except OSError:  # a filesystem without hard links
                    shutil.copyfile(source, link)
        yield staging
        for name in set(os.listdir(staging)) - former:
            source = os.path.join(staging, name)
            os.replace(source, os.path.join(cache_dir, name))


class ONNXRuntime:
    """Runs a core on ONNX Runtime, on the device that its package has.

    In float32, without a cache. Other outputs are not computed if the package
    `onnx` is installed, which can cut them off.

    Raises:
        ImportError: if ONNX Runtime cannot be imported.
        ValueError: if ONNX Runtime cannot read the core.
    """

    formats = ("onnx",)
    precisions = ("float32",)

    def __init__(self, core, outputs, precision="float32", cache_dir=None):
        import onnxruntime

        self._outputs = outputs
        available = onnxruntime.get_available_providers()
        options = onnxruntime.SessionOptions()
        # It warns of nodes that it leaves to the processor, as it should.
        options.log_severity_level = 3
        options.intra_op_num_threads = int(os.environ.get(THREADS, 0))
        providers = [name for name in _PROVIDERS if name in available]
        with _reading(core, "ONNX Runtime"):
            session = onnxruntime.InferenceSession(core, options, providers)
            there = [output.name for output in session.get_outputs()]
            if missing := set(outputs) - set(there):
                raise KeyError(f"no output {missing}")
            if there != outputs and importlib.util.find_spec("onnx"):
                core = _cut(core, outputs)
                session = onnxruntime.InferenceSession(core, options, providers)
        self._session = session

    def __call__(self, inputs):
        outputs = self._session.run(self._outputs, inputs)
        return dict(zip(self._outputs, outputs, strict=True))


def _cut(core, outputs):
    """The core without other outputs and what they alone need, as bytes."""
    import onnx

    stored = isinstance(core, bytes)
    model = onnx.load_from_string(core) if stored else onnx.load(core)
    inputs = [value.name for value in model.graph.input]
    extractor = onnx.utils.Extractor(model)
    return extractor.extract_model(inputs, outputs).SerializeToString()


@contextlib.contextmanager
def _reading(core, package):
    """Turns what a package raises for a damaged file into one error."""
    try:
        yield
    except Exception as error:  # each has classes of its own
        name = "the core" if isinstance(core, bytes) else core
        raise DamagedExportError(
            f"{package} cannot read {name}: {error}"
        ) from error


RUNTIMES = {"openvino": OpenVINORuntime, "onnxruntime": ONNXRuntime}
"""Engine → what runs cores on it."""
