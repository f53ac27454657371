"""The attributes of a node as values: those of its function's caller filled in, data read."""

from collections.abc import Callable, Mapping
from typing import Any

import onnx
from onnx import helper, numpy_helper

from onnxprune.errors import InputError
from onnxprune.formats.onnx_graph import Address
from onnxprune.reimport.bodies import Body
from onnxprune.reimport.constants import Store, dense, read_message

Kinds = onnx.AttributeProto
Given = Mapping[str, onnx.AttributeProto]


def settled(
    node: onnx.NodeProto, given: Given, body: Body, position: int, store: Store
) -> onnx.NodeProto:
    """Return a node with no attribute left to its function's caller or to the file.

    Args:
        node: as the body has it.
        given: what the caller of the function hands down, and defaults.
        body: where the node is.
        position: its place there.
        store: reads data that the skeleton does not hold.
    """
    bulky = [index for index, each in enumerate(node.attribute) if _is_bulky(each)]
    if not bulky and not any(each.ref_attr_name for each in node.attribute):
        return node
    made = onnx.NodeProto()
    made.CopyFrom(node)
    for index in bulky:
        address = body.place(position, index)
        assert address is not None
        record = store.model.scan.tensors[(*address, 5, 0)]
        made.attribute[index].t.CopyFrom(read_message(store.model, record))
    kept = []
    for attribute in made.attribute:
        if not attribute.ref_attr_name:
            kept.append(attribute)
        elif attribute.ref_attr_name in given:
            bound = onnx.AttributeProto()
            bound.CopyFrom(given[attribute.ref_attr_name])
            bound.name = attribute.name
            kept.append(bound)
    del made.attribute[:]
    made.attribute.extend(kept)
    return made


def values_of(
    node: onnx.NodeProto, store: Store, label: str, sparse: Callable[[int], Address | None]
) -> dict[str, Any]:
    """Return the attributes of a node as its function takes them; graphs are left out.

    Args:
        node: with all attributes settled.
        store: makes tensors of arrays.
        label: the node's name and operator, for messages.
        sparse: returns the address of an attribute's sparse tensor, if the model has it.
    """
    values: dict[str, Any] = {}
    for index, attribute in enumerate(node.attribute):
        if attribute.type in (Kinds.GRAPH, Kinds.GRAPHS):
            continue
        if attribute.type == Kinds.SPARSE_TENSOR:
            address, tensor = sparse(index), attribute.sparse_tensor
            values[attribute.name] = (
                store.sparse(address, tensor.dims)
                if address is not None
                else _dense(tensor, store)
            )
            continue
        values[attribute.name] = _value(attribute, store, label)
    return values


def _value(attribute: onnx.AttributeProto, store: Store, label: str) -> Any:
    try:
        value = helper.get_attribute_value(attribute)
        if attribute.type == Kinds.TENSOR:
            return store.placed(numpy_helper.to_array(value))
        if attribute.type == Kinds.STRING:
            return value.decode()
        if attribute.type == Kinds.STRINGS:
            return [each.decode() for each in value]
    except (ValueError, TypeError) as error:
        raise InputError(f"{label}: attribute '{attribute.name}' cannot be read") from error
    return list(value) if isinstance(value, (list, tuple)) else value


def _dense(tensor: onnx.SparseTensorProto, store: Store) -> Any:
    values, indices = (numpy_helper.to_array(part) for part in (tensor.values, tensor.indices))
    return store.placed(dense(values, indices, tuple(tensor.dims)))


def _is_bulky(attribute: onnx.AttributeProto) -> bool:
    return bool(attribute.HasField("t") and attribute.t.external_data)
