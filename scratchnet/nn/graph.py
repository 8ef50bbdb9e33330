"""Graph convolution."""

from typing import Any

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn import init
from scratchnet.nn.module import Module, Parameter, check_sizes
from scratchnet.rng import RNGLike
from scratchnet.tensor import Tensor


class GCNConv(Module):
    """Graph convolution, Y = Â X Wᵀ + b with Â = D^(−1/2) (A + I) D^(−1/2).

    A is the adjacency of the graph, I adds a loop at each node, and D holds the degrees, the row sums of
    A + I. The gradients are X̄ = Âᵀ Ȳ W, W̄ = Ȳᵀ Â X and b̄ = Σ Ȳ over nodes. Nodes that are numbered
    otherwise come out numbered so: the layer knows neighbours, not names. Each layer also smooths, and a
    deep stack leaves a connected graph with one feature vector up to its nodes' degrees.

    Args:
        in_features: Features of a node.
        out_features: Features of a node behind the layer.
        bias: False leaves b out.
        rng: Where the first weights come from (uniform, after Glorot and Bengio): a generator, a seed, or
            None for fresh entropy.

    Shape:
        ``(..., nodes, in_features)`` and an adjacency ``(nodes, nodes)`` to ``(..., nodes, out_features)``.

    Raises:
        ValueError: If a size is not positive, or shapes do not fit.

    Example:
        >>> two_nodes_and_their_edge = np.array([[0, 1], [1, 0]])
        >>> GCNConv(3, 2, rng=0)(np.ones((2, 3)), two_nodes_and_their_edge).shape
        (2, 2)

    References:
        Kipf and Welling, "Semi-Supervised Classification with Graph Convolutional Networks", 2017,
        arXiv:1609.02907.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, rng: RNGLike = None
    ) -> None:
        super().__init__()
        check_sizes(self, in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(np.empty((out_features, in_features), np.float32))
        init.xavier_uniform_(self.weight, rng=rng)
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None

    def forward(self, x: Tensor, adjacency: Any) -> Tensor:
        """See the class; the adjacency is a constant, an array or a sparse matrix of SciPy's."""
        # The map before the sum over neighbours, which then runs over fewer features where it narrows.
        y = F.propagate_normalized(F.linear(x, self.weight), adjacency)
        return y if self.bias is None else y + self.bias

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"
