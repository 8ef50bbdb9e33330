"""Lanczos iteration: a small picture of a symmetric matrix that is known by its products alone."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray
from scipy.linalg import block_diag, eigh_tridiagonal

from probes.arrays import Array, norm
from probes.curvature.product import Product

# Takes eigenvalues, gives how much each is wanted: `np.positive` for the largest, `np.abs` for magnitude.
Rank: TypeAlias = Callable[[Any], Any]

# What is left of a new direction is rounding alone below this many roundings of the largest product, or, in
# float64 where they add up over many more steps, below this power of one rounding.
_ROUNDINGS, _POWER = 100, 0.75


class Ritz(NamedTuple):
    """What a picture says of the matrix: approximate eigenpairs.

    Attributes:
        values: Ritz values, best first, shape ``(n,)``.
        weights: A column for each: the Ritz vector's coordinates in the basis, shape ``(rows, n)``.
        residuals: ``‖H v - θ v‖`` of each, shape ``(n,)``; a bound of it where directions wait in turn.
    """

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    residuals: NDArray[np.float64]


class Lanczos:
    """Picture ``Q H Qᵀ`` of a Hessian on a growing orthonormal basis Q, one product a step.

    Without starting directions a random one is drawn; several take turns [1]. Where all that they lead to is
    in the basis, the next direction is a fresh random one and begins a block of its own. What a product
    leaves outside the basis waits in a queue: ``H Qᵀ = Qᵀ picture + queueᵀ links``.

    Attributes:
        steps: Rows of the basis, and of the picture.
        block: The first row of the latest block; nothing in the picture links it to rows before.

    References:
        [1] Ruhe, "Implementation aspects of band Lanczos algorithms for computation of eigenvalues of large
            sparse symmetric matrices", 1979.
    """

    def __init__(
        self, product: Product, room: int, rng: np.random.Generator, starts: Sequence[Array] = ()
    ) -> None:
        self.steps = self.block = 0
        self._product, self._rng = product, rng
        self._basis = product.namespace.empty(
            (room, product.dim), dtype=product.like.dtype, device=device(product.like)
        )
        self._picture, self._lost = np.zeros((room, room)), np.zeros(room)
        self._queue, self._links = list(starts), np.zeros((len(starts), room))
        self._sizes = self._sizes_of_queue()
        self._largest_product = 0.0

    @property
    def is_full(self) -> bool:
        """Whether the basis has no room for another direction."""
        return self.steps == len(self._picture)

    @property
    def is_whole(self) -> bool:
        """Whether the basis is one of the whole space."""
        return self.steps == self._product.dim

    @property
    def is_exhausted(self) -> bool:
        """Whether the basis holds all that its starting directions lead to."""
        return not self._queue

    def step(self) -> None:
        """Spend one product and extend the picture by one row."""
        here = self.steps
        direction, links = self._next_direction()
        self._basis[here, ...] = direction
        product, size = self._product(direction)
        self._largest_product = max(self._largest_product, size)
        self.steps += 1
        links[here] = float(self._product.namespace.matmul(direction, product))
        self._picture[here, :] = self._picture[:, here] = links
        self._queue.append(self._outside(product, links))
        self._links = np.vstack([self._links, np.arange(len(links)) == here])
        self._drop_rounding()

    def ritz(self, rank: Rank, start: int = 0, stop: int | None = None) -> Ritz:
        """Ritz pairs of the given rows, a block or several, those with the highest ``rank(value)`` first."""
        rows = slice(start, self.steps if stop is None else stop)
        values, weights = _decomposed(self._picture[rows, rows])
        best = np.argsort(-rank(values), kind="stable")
        weights = weights[:, best]
        followed = self._sizes @ np.abs(self._links[:, rows] @ weights)
        lost = np.linalg.norm(self._lost[rows, None] * weights, axis=0)
        return Ritz(values[best], weights, followed + lost)

    def vectors(self, weights: NDArray[np.float64]) -> Array:
        """The vectors with these coordinates in the basis, one a row."""
        namespace = self._product.namespace
        return namespace.matmul(self._product.give(weights.T), self._basis[: self.steps, ...])

    def restart(self, rank: Rank, k: int) -> None:
        """Make room [1]: of the latest block keep the better half, of all before it the k best Ritz vectors.

        References:
            [1] Wu and Simon, "Thick-restart Lanczos method for large symmetric eigenvalue problems", 2000.
        """
        settled, latest = self.ritz(rank, 0, self.block), self.ritz(rank, self.block)
        before = min(k, self.block)
        after = min((len(self._picture) - before + k) // 2, self.steps - self.block)
        weights = block_diag(settled.weights[:, :before], latest.weights[:, :after])
        kept = before + after
        self._basis[:kept, ...] = self.vectors(weights)
        self._picture[...] = 0.0
        np.fill_diagonal(self._picture[:kept, :kept], [*settled.values[:before], *latest.values[:after]])
        self._links = np.pad(self._links @ weights, ((0, 0), (0, len(self._picture) - kept)))
        self._lost[:kept] = np.linalg.norm(self._lost[:, None] * weights, axis=0)
        self.block, self.steps = before, kept

    def _next_direction(self) -> tuple[Array, NDArray[np.float64]]:
        """A unit vector outside the basis, and the links by which the rows of the basis lead to it."""
        if self.is_exhausted:
            self.block = self.steps
            return self._fresh_direction(), np.zeros(len(self._picture))
        direction = self._queue.pop(0) / float(self._sizes[0])
        links, self._links = self._sizes[0] * self._links[0], self._links[1:]
        for place, waiting in enumerate(self._queue):
            overlap = float(self._product.namespace.matmul(waiting, direction))
            self._queue[place] = waiting - overlap * direction
            links += overlap * self._links[place]
        return direction, links

    def _fresh_direction(self) -> Array:
        direction = self._product.draw(self._rng)
        for _ in range(2):
            direction = self._beside_basis(direction)[0]
            direction = direction / float(norm(direction))
        return direction

    def _outside(self, product: Array, links: NDArray[np.float64]) -> Array:
        """What a product leaves outside the basis, after a check of what symmetry says of the inside."""
        # The links are few but after a restart: one pass over the whole basis cleans up, and checks.
        linked = slice(int(np.flatnonzero(links)[0]) if links.any() else 0, self.steps)
        followed = self._product.give(links[linked])
        rest = product - self._product.namespace.matmul(followed, self._basis[linked, ...])
        rest, surprise = self._beside_basis(rest)
        self._product.check_symmetry(surprise, self._largest_product)
        return rest

    def _beside_basis(self, vector: Array) -> tuple[Array, float]:
        """A vector less its part in the basis, and the norm of that part."""
        namespace, basis = self._product.namespace, self._basis[: self.steps, ...]
        overlaps = namespace.matmul(basis, vector)
        return vector - namespace.matmul(overlaps, basis), float(norm(overlaps))

    def _drop_rounding(self) -> None:
        """Forget those in the queue that are rounding alone, but not that they were there."""
        self._sizes = self._sizes_of_queue()
        rounding = max(_ROUNDINGS * self._product.rounding, self._product.rounding**_POWER)
        counts = self._sizes > rounding * self._largest_product
        dropped = self._sizes[~counts, None] * self._links[~counts]
        self._lost = np.hypot(self._lost, np.linalg.norm(dropped, axis=0))
        self._queue = [waiting for waiting, does in zip(self._queue, counts, strict=True) if does]
        self._links, self._sizes = self._links[counts], self._sizes[counts]

    def _sizes_of_queue(self) -> NDArray[np.float64]:
        return np.array([float(norm(waiting)) for waiting in self._queue])


def _decomposed(picture: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not picture.size or np.triu(picture, 2).any():
        values, weights = np.linalg.eigh(picture)
    else:
        # The dense routine wakes BLAS's threads at every look, which then wait in the way of the products.
        values, weights = eigh_tridiagonal(np.diag(picture), np.diag(picture, 1))
    return values, weights
