"""Fused normalisations, beside ONNX Runtime, and their gradients."""

import pytest
import torch

from tests.reimport.nodes import apply, gradients_hold, same_as_runtime, sample

MICROSOFT = "com.microsoft"
WORDS = torch.tensor([[0, 3, 6], [2, 2, 5]], dtype=torch.int32)
SEGMENTS = torch.tensor([[0, 1, 1], [1, 0, 0]], dtype=torch.int32)


@pytest.mark.parametrize("outputs", [1, 4])
def test_the_sum_is_normalised(outputs: int) -> None:
    x, skip = sample(2, 3, 4), sample(2, 3, 4, seed=1)
    vectors = [sample(4, seed=seed) for seed in (2, 3, 4)]
    settings = {"outputs": outputs, "domain": MICROSOFT}
    same_as_runtime("SkipLayerNormalization", x, skip, *vectors, epsilon=1e-5, **settings)
    same_as_runtime("SkipLayerNormalization", x, skip, vectors[0], **settings)
    two = vectors[:2]
    same_as_runtime("SkipSimplifiedLayerNormalization", x, skip, *two, **settings)
    same_as_runtime(
        "SkipSimplifiedLayerNormalization", x, skip, two[0], epsilon=1e-3, **settings
    )


def test_what_is_skipped_may_broadcast() -> None:
    x, gamma, beta = sample(2, 3, 4), sample(4, seed=1), sample(4, seed=2)
    for skip in (sample(1, 3, 4, seed=3), sample(3, 4, seed=3)):
        same_as_runtime("SkipLayerNormalization", x, skip, gamma, beta, domain=MICROSOFT)


@pytest.mark.parametrize("outputs", [2, 3])
def test_embeddings_are_looked_up(outputs: int) -> None:
    words, positions, segments = sample(7, 4), sample(5, 4, seed=1), sample(2, 4, seed=2)
    affine = sample(4, seed=3), sample(4, seed=4)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]], dtype=torch.int32)
    places = torch.tensor([[4, 3, 1], [0, 0, 2]], dtype=torch.int32)
    name, settings = "EmbedLayerNormalization", {"outputs": outputs, "domain": MICROSOFT}
    tables = words, positions, segments
    same_as_runtime(name, WORDS, SEGMENTS, *tables, *affine, mask, epsilon=1e-5, **settings)
    same_as_runtime(name, WORDS, SEGMENTS, *tables, *affine, mask, places, **settings)
    same_as_runtime(name, WORDS, None, words, positions, None, *affine, **settings)
    without = apply(
        name, WORDS, None, words, positions, None, *affine, mask_index_type=0, **settings
    )
    assert without[1] is None


def test_gradients() -> None:
    x, skip = sample(1, 2, 3), sample(1, 2, 3, seed=1)
    vectors = [sample(3, seed=seed) for seed in (2, 3, 4)]
    name, settings = "SkipLayerNormalization", {"domain": MICROSOFT, "epsilon": 1e-5}
    gradients_hold(name, x, skip, *vectors, twice=True, **settings)
    for output in (1, 2, 3):
        gradients_hold(name, x, skip, *vectors, outputs=4, output=output, **settings)
    name = "SkipSimplifiedLayerNormalization"
    gradients_hold(name, x, skip, *vectors[:2], twice=True, **settings)
    gradients_hold(name, x, skip, *vectors[:2], outputs=4, output=2, **settings)
    tables = sample(7, 3), sample(3, 3, seed=1), sample(2, 3, seed=5)
    name = "EmbedLayerNormalization"
    gradients_hold(name, WORDS, SEGMENTS, *tables, *vectors[:2], **settings)
