"""Graph convolution: what holds for every graph; the table compares it with the closed form."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import scratchnet as sn
from scratchnet import nn
from scratchnet.nn import functional as F
from scratchnet.tape import Array


def graph(nodes: int, seed: int) -> Array:
    """Symmetric, with weights, connected by a path through all nodes."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.uniform(0, 2, (nodes, nodes)) * (rng.random((nodes, nodes)) < 0.4), 1)
    upper += np.diag(np.ones(nodes - 1), 1)
    return upper + upper.T


def features(nodes: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((nodes, 3))


graphs = st.tuples(st.integers(2, 9), st.integers(0, 999))


@settings(max_examples=30, deadline=None)
@given(size_and_seed=graphs)
def test_renumbering_the_nodes_renumbers_the_outputs(size_and_seed: tuple[int, int]) -> None:
    nodes, seed = size_and_seed
    adjacency, x, layer = graph(nodes, seed), features(nodes, seed), nn.GCNConv(3, 2, rng=seed).double()
    order = np.random.default_rng(seed).permutation(nodes)
    moved = layer(x[order], adjacency[np.ix_(order, order)]).numpy()
    np.testing.assert_allclose(moved, layer(x, adjacency).numpy()[order], rtol=1e-12, atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(size_and_seed=graphs)
def test_a_sparse_adjacency_gives_what_a_dense_one_gives(size_and_seed: tuple[int, int]) -> None:
    nodes, seed = size_and_seed
    adjacency, x = graph(nodes, seed), features(nodes, seed)
    expected = F.propagate_normalized(x, adjacency).numpy()
    for form in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        np.testing.assert_allclose(
            F.propagate_normalized(x, form(adjacency)).numpy(), expected, rtol=1e-13, atol=1e-15
        )


@settings(max_examples=30, deadline=None)
@given(size_and_seed=graphs)
def test_the_roots_of_the_degrees_do_not_change_and_nothing_grows(size_and_seed: tuple[int, int]) -> None:
    nodes, seed = size_and_seed
    adjacency = graph(nodes, seed)
    root = np.sqrt(adjacency.sum(axis=1, keepdims=True) + 1)
    np.testing.assert_allclose(F.propagate_normalized(root, adjacency).numpy(), root, rtol=1e-12)
    x = features(nodes, seed)
    assert np.linalg.norm(F.propagate_normalized(x, adjacency).numpy()) <= np.linalg.norm(x) * (1 + 1e-12)


def test_many_layers_smooth_all_differences_away() -> None:
    adjacency, x = graph(8, 0), sn.Tensor(features(8, 0))
    root = np.sqrt(adjacency.sum(axis=1, keepdims=True) + 1)

    def spread(y: sn.Tensor) -> float:
        """What is left beside the part that all nodes share up to their degrees."""
        shared = root * (root * y.numpy()).sum(axis=0) / (root**2).sum()
        return float(np.linalg.norm(y.numpy() - shared))

    y, spreads = x, [spread(x)]
    for _ in range(60):
        y = F.propagate_normalized(y, adjacency)
        spreads.append(spread(y))
    assert all(later <= earlier for earlier, later in pairwise(spreads))
    assert spreads[-1] < 1e-3 * spreads[0]


def test_a_node_without_neighbours_keeps_to_itself() -> None:
    x = features(3, 0)
    np.testing.assert_allclose(F.propagate_normalized(x, np.zeros((3, 3))).numpy(), x, rtol=1e-15)


def test_a_stack_of_graphs_is_treated_graph_by_graph() -> None:
    stack, x = np.stack([graph(4, seed) for seed in range(3)]), np.stack([features(4, s) for s in range(3)])
    together = F.propagate_normalized(x, stack).numpy()
    for one, adjacency, of_one in zip(together, stack, x, strict=True):
        np.testing.assert_allclose(one, F.propagate_normalized(of_one, adjacency).numpy(), rtol=1e-13)


def test_integers_and_tensors_serve_as_adjacency() -> None:
    adjacency = (graph(4, 0) > 0).astype(int)
    layer = nn.GCNConv(3, 2, rng=0)
    expected = layer(features(4, 0), adjacency)
    assert expected.dtype == np.float32
    tensor = sn.Tensor(adjacency.astype(np.float32))
    np.testing.assert_array_equal(layer(features(4, 0), tensor).numpy(), expected.numpy())


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no features": (lambda: nn.GCNConv(0, 2), ValueError, "GCNConv needs in_features >= 1, got 0"),
    "a graph of another size": (
        lambda: nn.GCNConv(3, 2, rng=0)(features(4, 0), graph(5, 0)),
        ValueError,
        r"needs an adjacency of shape \(nodes, nodes\) .* got \(5, 5\) and \(4, 2\)",
    ),
    "negative degrees": (
        lambda: F.propagate_normalized(features(2, 0), np.array([[0, -1], [-1, 0]])),
        ValueError,
        r"needs positive degrees, got 0\.0 \(with the self-loop\)",
    ),
    "an adjacency to learn": (
        lambda: F.propagate_normalized(features(2, 0), sn.Tensor(np.ones((2, 2)), requires_grad=True)),
        TypeError,
        r"needs a constant adjacency, .* pass adjacency\.detach\(\)",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
