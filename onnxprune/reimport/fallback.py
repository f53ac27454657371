"""Computes what no function of torch does: by the operator's definition, else by numpy.

A definition is made of other operators, so that gradients pass. numpy's reference has none: it
is noted as a cut, and refused where the gradient of a tensor that can be pruned would pass.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import onnx
from onnx import helper
from onnx.defs import SchemaError

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.bodies import body_of_function
from onnxprune.reimport.builder import Builder
from onnxprune.reimport.library import Cut
from onnxprune.reimport.program import Program
from onnxprune.reimport.values import carries_gradient, element_type, to_array, to_value

MODEL_VERSION = 10


class Substitute:
    """Computes a node without a function of its own.

    Args:
        builder: of the program that the node is in.
        node: with all attributes settled.
        schema: the operator's definition.
        cut: what is noted if numpy has to compute it.
        passing: a tensor that can be pruned whose gradient passes through the node, if any.
    """

    def __init__(
        self,
        builder: Builder,
        node: onnx.NodeProto,
        schema: Any,
        cut: Cut,
        passing: str | None,
    ) -> None:
        self._builder = builder
        self._node = node
        self._schema = schema
        self._cut = cut
        self._passing = passing
        self._version = builder.opsets.get(schema.domain, 1)
        self._programs: dict[tuple[int, ...], Program | None] = {}
        self._reference: Any = None

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        """Compute the outputs."""
        kinds = tuple([element_type(value) if value is not None else 0 for value in values])
        if kinds not in self._programs:
            self._programs[kinds] = self._expand(kinds)
        program = self._programs[kinds]
        if program is not None:
            return program.run(values, {})
        return self._refer(values)

    def _expand(self, kinds: Sequence[int]) -> Program | None:
        """Make a program of the operator's definition, if it has one."""
        function = self._definition(kinds)
        if function is None:
            return None
        given = {
            name: attribute.default_value
            for name, attribute in self._schema.attributes.items()
            if attribute.default_value.name
        }
        given |= {attribute.name: attribute for attribute in self._node.attribute}
        opsets = {each.domain: each.version for each in function.opset_import}
        builder = self._builder.nested(opsets, given)
        body = body_of_function(function, f"{self._cut.node}/")
        return builder.build(body, [self._passing] * len(body.inputs))

    def _definition(self, kinds: Sequence[int]) -> Any:
        """Return the operator's definition for inputs of these types, if it has one."""
        schema = self._schema
        if schema.has_function:
            version = _newest(schema.function_opset_versions, self._version)
            if version is not None:
                data = schema.get_function_with_opset_version(version)
                return onnx.FunctionProto.FromString(data)
        if schema.has_context_dependent_function:
            version = _newest(schema.context_dependent_function_opset_versions, self._version)
            if version is not None:
                types = [helper.make_tensor_type_proto(kind, None) for kind in kinds]
                data = schema.get_context_dependent_function_with_opset_version(
                    version,
                    self._node.SerializeToString(),
                    [each.SerializeToString() for each in types],
                )
                return onnx.FunctionProto.FromString(data) if data else None
        return None

    def _refer(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Compute by numpy, and note the cut."""
        cut = self._cut
        name = f"node '{cut.node}' ({cut.operator})"
        given = zip(self._node.input, values, strict=False)
        feeds = {key: to_array(value) for key, value in given if key}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = self._evaluator().run(None, feeds)
        except Exception as error:
            raise UnsupportedError(f"{name}: {cut.reason}") from error
        library = self._builder.library
        made = iter(found)
        results = tuple(
            [
                to_value(next(made), library.store.device) if output else None
                for output in self._node.output
            ]
        )
        library.cuts.setdefault(cut.node, cut)
        if self._passing is not None and any(carries_gradient(each) for each in results):
            raise UnsupportedError(
                f"{name} has no gradient here ({cut.reason}),"
                f" and that of '{self._passing}' passes through it",
                f"--exclude '{self._passing}' leaves it as it is",
            )
        return results

    def _evaluator(self) -> Any:
        if self._reference is None:
            from onnx.reference import ReferenceEvaluator

            node = self._node
            inputs = [
                onnx.ValueInfoProto(name=name) for name in dict.fromkeys(node.input) if name
            ]
            outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
            graph = helper.make_graph([node], "node", inputs, outputs)
            opset = helper.make_opsetid(self._schema.domain, self._version)
            model = helper.make_model(graph, opset_imports=[opset], ir_version=MODEL_VERSION)
            self._reference = ReferenceEvaluator(model)
        return self._reference


def substitute(
    builder: Builder, node: onnx.NodeProto, label: str, passing: str | None, reason: str
) -> Substitute | None:
    """Return a way to compute a node without a function of torch, if it is defined at all."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    version = builder.opsets.get(domain, 1)
    try:
        schema = onnx.defs.get_schema(node.op_type, version, domain)
    except SchemaError:
        return None
    if any(attribute.name not in schema.attributes for attribute in node.attribute):
        return None
    if not schema.min_input <= len(node.input) <= schema.max_input:
        return None
    cut = Cut(label, node.op_type, reason)
    return Substitute(builder, node, schema, cut, passing)


def _newest(versions: Sequence[int], limit: int) -> int | None:
    return max((version for version in versions if version <= limit), default=None)
