"""ONNX Runtime: predictions only, on arrays bound once, so that a call copies nothing."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import inputs
from ..cases import Case
from . import Run

Array = npt.NDArray[Any]

_NODES = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
_OPSET = 13


def missing() -> str | None:
    absent = [name for name in ("onnxruntime", "onnx") if not importlib.util.find_spec(name)]
    return f"not installed: {', '.join(absent)}" if absent else None


def versions() -> dict[str, str]:
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__}


def prepare(case: Case, dtype: np.dtype[Any], threads: int) -> Run | None:
    return _Predict(case, dtype, threads) if case.op == "predict" else None


class _Predict:
    def __init__(self, case: Case, dtype: np.dtype[Any], threads: int) -> None:
        import onnxruntime

        assert case.net is not None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        model = _model(case, inputs.weights(case, dtype))
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.x = inputs.rows(case, dtype, case.batch)[0]
        self.out = np.empty((case.batch, case.net.widths[-1]), dtype)
        self.binding = self.session.io_binding()
        self.binding.bind_cpu_input("x", self.x)
        self.binding.bind_output(
            "y", "cpu", 0, self.out.dtype, self.out.shape, self.out.ctypes.data
        )  # fmt: skip

    def reset(self) -> None:
        self.out.fill(np.nan)

    def repeat(self, calls: int) -> None:
        run, binding = self.session.run_with_iobinding, self.binding
        for _ in range(calls):
            run(binding)

    def results(self) -> list[Array]:
        return [self.out]


def _model(case: Case, weights: list[Array]) -> bytes:
    """The net as an ONNX graph: Gemm and an activation for each layer."""
    from onnx import TensorProto, helper, numpy_helper

    assert case.net is not None
    kind = {4: TensorProto.FLOAT, 8: TensorProto.DOUBLE}[weights[0].itemsize]
    nodes, value = [], "x"
    last = len(case.net.activations) - 1
    for i, activation in enumerate(case.net.activations):
        out = "y" if i == last and activation == "identity" else f"z{i}"
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [out]))
        value = out
        if activation != "identity":
            value = "y" if i == last else f"a{i}"
            nodes.append(helper.make_node(_NODES[activation], [out], [value]))
    names = [f"{letter}{i}" for i in range(last + 1) for letter in "wb"]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, [case.batch, case.net.widths[0]])],
        [helper.make_tensor_value_info("y", kind, [case.batch, case.net.widths[-1]])],
        [numpy_helper.from_array(array, name) for array, name in zip(weights, names, strict=True)],
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    # 8: read by every ONNX Runtime since 2021; the newest onnx writes a version that older ones refuse
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()  # type: ignore[no-any-return]
