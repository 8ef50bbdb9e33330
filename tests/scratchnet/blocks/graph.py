"""Graph convolution, beside the dense closed form."""

from typing import Any

import numpy as np
from scipy import sparse

from scratchnet.tape import Array
from tests.scratchnet.blocks.contract import Case, normal, positive

NODES = 5


def weights() -> Array:
    """A graph of five nodes: symmetric weights, one node alone."""
    upper = np.triu(positive(NODES, NODES) * (normal(NODES, NODES) > -0.3), 1)
    upper[:, -1] = 0
    return upper + upper.T


def _convolution(bias: bool) -> Any:
    """D^(−1/2) (A + I) D^(−1/2) X Wᵀ + b, all matrices dense."""

    def make(nn: Any) -> Any:
        class Block(nn.Linear):  # type: ignore[misc]
            def forward(self, x: Any, adjacency: Any) -> Any:
                dense = np.asarray(adjacency.todense() if sparse.issparse(adjacency) else adjacency)
                looped = dense + np.eye(NODES)
                root = np.diag(looped.sum(axis=-1) ** -0.5)
                y = x.new_tensor(root @ looped @ root) @ x @ self.weight.T
                return y if self.bias is None else y + self.bias

        return Block(3, 2, bias=bias)

    return make


def _on(adjacency: Any) -> Any:
    return lambda block, x: block(x, adjacency)


def _case(name: str, adjacency: Any, *shape: int, bias: bool = True, graphs: bool = True) -> Case:
    return Case(
        "GCNConv",
        lambda nn: nn.GCNConv(3, 2, bias),
        lambda batch: (normal(*((batch,) if graphs else ()), *shape, NODES, 3),),
        name,
        call=_on(adjacency),
        twin=_convolution(bias),
    )


CASES = [
    _case("", weights()),
    _case("one graph", weights(), graphs=False),
    _case("no bias", weights() > 0, bias=False),
    _case("sparse", sparse.csr_array(weights())),
    _case("sparse, one graph", sparse.coo_matrix(weights()), graphs=False),
    _case("directed", np.triu(weights())),
]
