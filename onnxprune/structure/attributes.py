"""Attributes of nodes as the rules read them."""

from typing import Any

import onnx

from onnxprune.errors import InputError
from onnxprune.formats.onnx_graph import node_label


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return the value of a node's attribute, which is of its default's type if that has one."""
    for found in node.attribute:
        if found.name == name and not found.ref_attr_name:
            value = onnx.helper.get_attribute_value(found)
            if default is None or type(value) is type(default):
                return value
            kind = onnx.AttributeProto.AttributeType.Name(found.type)
            wanted = type(default).__name__
            raise InputError(f"'{node_label(node)}': {name} is {kind}, {wanted} expected")
    return default
