"""Builder of ONNX graphs: nodes and constants in, a checked model out.

The library `onnx` is imported when a graph is built, so that only those who export need it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from reviver.errors import import_library
from reviver.settings.validation import check
from reviver.version import __version__

MIN_OPSET = 13
"""Minimum opset of our graphs: the first in which Squeeze takes its axes as input and Softmax works along one axis."""
REDUCE_OPSET = 18
"""First opset in which ReduceMax takes its axes as input; ReduceSum does from `MIN_OPSET` on."""

Array = NDArray[Any]


class Port(NamedTuple):
    """An input or output of a graph."""

    name: str
    dtype: str
    """`float32`, `int64` or `bool`."""
    shape: tuple[str | int, ...]
    """Shape; an axis that varies has a name."""
    description: str


class Graph:
    """An ONNX graph under construction, with `inputs` and `outputs` in order. Values are known by their names.

    The `opset`, the version of the operators, is `MIN_OPSET` by default, which the most runtimes know. One that `onnx` does not
    know is a ConfigError, and so is a missing `onnx`.
    """

    def __init__(self, opset: int | None = None, prefix: str = "") -> None:
        self._onnx = import_library("onnx", "format onnx needs the library onnx", "format")
        self.opset = MIN_OPSET if opset is None else opset
        self._prefix = prefix  # of the names of its nodes
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self._nodes: list[Any] = []
        self._constants: dict[str, Array] = {}
        check("opset", self.opset, Annotated[int, Field(ge=MIN_OPSET, le=self._onnx.defs.onnx_opset_version())])

    def input(self, port: Port, default: Array | None = None) -> str:
        """Add an input; with a `default` a caller may leave it out. Return its name."""
        self.inputs.append(port)
        return port.name if default is None else self.constant(default, port.name)

    def output(self, value: str, port: Port) -> None:
        """Give `value` the name of an output."""
        self.outputs.append(port)
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [port.name], name=port.name))

    def constant(self, value: Array | Tensor, name: str | None = None) -> str:
        """Add a constant, or find an equal small one; return its name."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        if name is None and array.size <= 8:
            name = f"{array.dtype}_{list(array.shape)}_{array.ravel().tolist()}"
        name = name or f"constant_{len(self._constants)}"
        self._constants[name] = array
        return name

    def integers(self, *values: int) -> str:
        """Return the name of a constant with `values`, [n] int64."""
        return self.constant(np.array(values, np.int64))

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; return the name of the output."""
        return self.add_many(operator, inputs, 1, name=name, **attributes)[0]

    def add_many(
        self, operator: str, inputs: Sequence[str], count: int, *, name: str | None = None, **attributes: Any
    ) -> list[str]:
        """Add a node with `count` outputs; return their names. An empty input is one that is left out."""
        name = name or f"{self._prefix}{operator}_{len(self._nodes)}"
        outputs = [f"{name}_out{index}" for index in range(count)]
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), outputs, name=name, **attributes))
        return outputs

    def body(self, prefix: str) -> "Graph":
        """Return a graph that `scan` repeats: it shares the constants, and its nodes have names with a `prefix`."""
        body = Graph(self.opset, prefix)
        body._constants = self._constants
        return body

    def scan(self, body: "Graph", states: Sequence[str], sequences: Sequence[str], reverse: bool = False) -> list[str]:
        """Run `body` over the first axis of `sequences`; return its last states and its other outputs of all steps.

        Its inputs are states and a step of each sequence, its outputs the new states and others. With `reverse` it runs from
        the last step to the first.
        """
        values = [[self._value_info(port) for port in ports] for ports in (body.inputs, body.outputs)]
        graph = self._onnx.helper.make_graph(body._nodes, f"{body._prefix}body", *values)
        others = len(body.outputs) - len(states)
        directions: Any = {"scan_input_directions": [int(reverse)] * len(sequences)}
        directions["scan_output_directions"] = [int(reverse)] * others
        inputs, attributes = [*states, *sequences], {"body": graph, "num_scan_inputs": len(sequences), **directions}
        return self.add_many("Scan", inputs, len(body.outputs), **attributes)

    def element_type(self, dtype: Any) -> int:
        """Return the number that ONNX gives a NumPy dtype, for the node `Cast`."""
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reduce(self, operator: str, x: str, axis: int, keepdims: int) -> str:
        """Add the node `ReduceMax` or `ReduceMean` along an axis, which is kept or removed."""
        if self.opset < REDUCE_OPSET:
            return self.add(operator, x, axes=[axis], keepdims=keepdims)
        return self.add(operator, x, self.integers(axis), keepdims=keepdims)

    def model(self, name: str, description: str, metadata: Mapping[str, str]) -> Any:
        """Return the graph as an `onnx.ModelProto`, checked with full shape inference.

        The `description` is for people, the `metadata` for programs.
        """
        onnx = self._onnx
        graph = onnx.helper.make_graph(
            self._nodes,
            name,
            [self._value_info(port) for port in self.inputs],
            [self._value_info(port) for port in self.outputs],
            [onnx.numpy_helper.from_array(np.ascontiguousarray(array), key) for key, array in self._constants.items()],
        )
        opsets = [onnx.helper.make_opsetid("", self.opset)]
        model = onnx.helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=onnx.helper.find_min_ir_version_for(opsets),  # the newest would shut out older runtimes
            producer_name="reviver",
            producer_version=__version__,
            doc_string=description,
        )
        onnx.helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model

    def _value_info(self, port: Port) -> Any:
        kind = self.element_type(port.dtype)
        return self._onnx.helper.make_tensor_value_info(port.name, kind, port.shape, doc_string=port.description)
