"""Attributes of nodes as the rules read them."""

from typing import Any

import onnx


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return the value of a node's attribute, of whatever kind it is."""
    for found in node.attribute:
        if found.name == name and not found.ref_attr_name:
            return onnx.helper.get_attribute_value(found)
    return default
