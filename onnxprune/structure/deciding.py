"""Decides which channels go: those that are zero wherever a sum goes over them."""

from collections.abc import Mapping

import numpy as np

from onnxprune.structure.following import Followed
from onnxprune.structure.settling import Settled
from onnxprune.structure.values import Axis, Site
from onnxprune.types import Array


def find_needed(followed: Followed, settled: Settled) -> dict[int, str]:
    """Return the channels, by their roots, that something else than zero is made of, and what."""
    needed: dict[int, str] = {}
    for site in followed.sites:
        roots = followed.labels.roots(site.labels)
        for root in roots[~_zero(site, settled)].tolist():
            needed.setdefault(root, site.node)
    return needed


def _zero(site: Site, settled: Settled) -> Array:
    """Return which of the products that a sum is made of are zero."""
    zero = np.zeros(site.labels.size, bool)
    for operand in site.operands:
        zero |= settled.of(operand.name).zeros(operand.axis, zero.size)
    return zero


def find_removable(followed: Followed, needed: Mapping[int, str]) -> set[int]:
    """Return the channels that can go: not needed, not frozen, and never all of an axis."""
    labels = followed.labels
    axes = [roots for roots in map(followed.labels.roots, tracked(followed)) if roots.size]
    gone = {
        root
        for roots in axes
        for root in roots.tolist()
        if root not in needed and labels.reason(root) is None
    }
    while True:
        revived = {
            int(roots[0]) for roots in axes if all(root in gone for root in roots.tolist())
        }
        if not revived:
            return gone
        gone -= revived


def tracked(followed: Followed) -> list[Array]:
    """Return the labels of all axes there are, each once."""
    seen: dict[int, Array] = {}
    for value in followed.values.values():
        for axis in value.axes or ():
            if axis.labels is not None:
                seen[id(axis)] = axis.labels
    return list(seen.values())


def kept(followed: Followed, axis: Axis, gone: set[int]) -> Array:
    """Return which positions of an axis stay."""
    if axis.labels is None:
        return np.ones(axis.size or 0, bool)
    roots = followed.labels.roots(axis.labels)
    return np.array([root not in gone for root in roots.tolist()], bool)
