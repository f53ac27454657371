"""Refuses files that are no ONNX model, and graphs that contradict themselves."""

import onnx

from onnxprune.errors import (
    InputError,
    LimitError,
    OnnxpruneError,
    UnsafeError,
    UnsupportedError,
)
from onnxprune.formats.files import SourceFile
from onnxprune.formats.onnx_graph import Graph, Scope, node_label
from onnxprune.formats.wire import read_exactly

KNOWN: tuple[tuple[tuple[bytes, ...], OnnxpruneError], ...] = (
    (
        (b"version https://git-lfs",),
        InputError("a Git LFS pointer, not a model", "run `git lfs pull`"),
    ),
    (
        (b"<!doctype", b"<html", b"<?xml"),
        InputError("not an ONNX file (it looks like HTML)", "a failed download?"),
    ),
    ((b"\x1f\x8b",), InputError("the file is compressed with gzip", "unpack it first")),
    (
        (b"PK\x03\x04",),
        UnsupportedError(
            "a zip archive (TorchScript or a PyTorch checkpoint?), not an ONNX file",
            "export the model to ONNX first",
        ),
    ),
    (
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        UnsafeError("a Python pickle: refused", "export the model to ONNX first"),
    ),
    ((b"{",), InputError("JSON models are not taken", "save the model as binary ONNX")),
    (
        (b"ir_version", b"graph {", b"producer_name", b"opset_import"),
        UnsupportedError(
            "text-format models are not taken: their bytes cannot be patched",
            "save the model as binary ONNX",
        ),
    ),
)
CALL_DEPTH = 100
INLINED_NODES = 200_000


def sniff(source: SourceFile) -> None:
    """Recognise by its first bytes what is certainly not an ONNX model."""
    if source.size == 0:
        raise InputError("the file is empty (0 bytes)")
    head = read_exactly(source.descriptor, 0, min(512, source.size))
    text = head.lstrip().lower()
    for starts, error in KNOWN:
        if head.startswith(starts) or text.startswith(starts):
            raise type(error)(error.message, error.hint)
    if not head.strip(b"\0"):
        raise InputError("not an ONNX file (it begins with zeros)")
    if _is_text(head):
        raise InputError("not an ONNX file (it looks like text)")


def check_graph(graph: Graph) -> None:
    """Refuse models that no runtime can mean the same by."""
    model = graph.model
    if not model.HasField("graph"):
        raise InputError("no graph in the file", "is it truncated?")
    if not model.ir_version:
        raise InputError("no ir_version in the file")
    if model.ir_version > onnx.IR_VERSION:
        raise UnsupportedError(
            f"ir_version {model.ir_version} is newer than this build knows ({onnx.IR_VERSION})",
            "install a newer onnx package",
        )
    if not model.graph.node:
        raise InputError("the graph has no nodes")
    if not model.graph.output:
        raise InputError("the graph has no outputs")
    _check_opsets(graph)
    _check_functions(graph)
    for scope in graph.scopes:
        _check_nodes(scope)


def _check_nodes(scope: Scope) -> None:
    """Refuse nodes of one name, and attributes that take the value of a function's."""
    names: set[str] = set()
    outermost = scope
    while outermost.parent is not None:
        outermost = outermost.parent
    inside = outermost.prefix.startswith("function:")
    for node in scope.nodes:
        if node.name in names and not inside:
            raise InputError(
                f"two nodes are named '{scope.prefix}{node.name}'",
                "no runtime takes that; a node may also have no name",
            )
        if node.name:
            names.add(node.name)
        for attribute in node.attribute:
            if attribute.ref_attr_name and not inside:
                raise InputError(
                    f"'{scope.prefix}{node_label(node)}': attribute '{attribute.name}' refers to"
                    f" '{attribute.ref_attr_name}' of a function, but is in none"
                )


def _check_opsets(graph: Graph) -> None:
    versions: dict[str, int] = {}
    for entry in graph.model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if domain in versions:
            raise InputError(
                f"the opset of '{domain}' is given twice ({versions[domain]}, {entry.version})"
            )
        if entry.version < 1:
            raise InputError(f"opset {entry.version} of '{domain}'")
        versions[domain] = entry.version
    if not versions:
        raise InputError("no opset import in the file")
    newest = onnx.defs.onnx_opset_version()
    if versions.get("", 0) > newest:
        raise UnsupportedError(
            f"opset {versions['']} is newer than this build knows ({newest})",
            "install a newer onnx package",
        )


def _check_functions(graph: Graph) -> None:
    """Count calls without expanding them: depth, and nodes once inlined."""
    sizes: dict[int, int] = {}
    depths: dict[int, int] = {}
    open_ones: set[int] = set()
    inner = _subgraphs(graph)
    for root in graph.functions.values():
        stack = [(root, False)]
        while stack:
            scope, done = stack.pop()
            if id(scope) in sizes:
                continue
            called = _called(graph, scope, inner)
            if done:
                open_ones.discard(id(scope))
                own = len(scope.nodes)
                sizes[id(scope)] = own + sum(sizes[id(body)] for body in called)
                depths[id(scope)] = 1 + max((depths[id(body)] for body in called), default=0)
                continue
            open_ones.add(id(scope))
            stack.append((scope, True))
            for body in called:
                if id(body) in open_ones:
                    raise InputError(f"function {body.prefix[9:-1]} calls itself")
                stack.append((body, False))
    if max(depths.values(), default=0) > CALL_DEPTH:
        raise LimitError(f"function calls are more than {CALL_DEPTH} deep")
    main = [scope for scope in graph.scopes if not scope.prefix.startswith("function:")]
    total = sum(sizes[id(body)] for scope in main for body in _called(graph, scope, {}))
    if total > INLINED_NODES:
        raise LimitError(f"its functions inline to {total:,} nodes (over {INLINED_NODES:,})")


def _subgraphs(graph: Graph) -> dict[int, list[Scope]]:
    inner: dict[int, list[Scope]] = {}
    for scope in graph.scopes:
        if scope.parent is not None:
            inner.setdefault(id(scope.parent), []).append(scope)
    return inner


def _called(graph: Graph, scope: Scope, inner: dict[int, list[Scope]]) -> list[Scope]:
    bodies = []
    waiting = [scope]
    while waiting:
        here = waiting.pop()
        waiting += inner.get(id(here), [])
        for node in here.nodes:
            body = graph.functions.get((node.domain, node.op_type, node.overload))
            if body is not None:
                bodies.append(body)
    return bodies


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\r\n\t" for letter in text)
