"""What an optimiser's step does to weights, told from a copy of them that is kept from before it."""

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from probes.arrays import Array, are_on_host, host_views, namespace_of, norms, readable, returned
from probes.sums import norms_of_copies, norms_of_differences


class Updates:
    """Keeps a copy of weights before a step, and measures after it how far each of them has moved.

    That is the true update: what the optimiser meant to add may have been rounded away, and whatever else moves
    weights in a step counts. The copies are made once and then written over.

    Example:
        >>> updates, weights = Updates(), [np.array([3.0, 4.0])]
        >>> updates.keep(weights)
        [5.0]
        >>> weights[0] += 1
        >>> updates.norms(weights)
        [1.41...]
    """

    def __init__(self) -> None:
        self._given: Sequence[Array] = ()
        self._seen: list[Any] = []
        self._before: list[Any] = []
        self._is_kept = False

    def keep(self, weights: Sequence[Array]) -> list[Any]:
        """Takes a copy of the weights.

        Args:
            weights: At least one array, all of one library. One and the same list stands for the same arrays.

        Returns:
            Their norms: numbers where they are on the host, and otherwise one array of their library.
        """
        # A failure in between must not pass for weights that are kept.
        self._is_kept = False
        seen = self._readable(weights)
        if are_on_host(seen):
            if not _are_alike(seen, self._before):
                self._before = [np.empty_like(array) for array in seen]
            found: list[Any] = norms_of_copies(seen, self._before)
        else:
            self._before = _copied(seen, self._before)
            found = [norms(self._before)]
        self._is_kept = True
        return found

    def norms(self, moved: Sequence[Array]) -> list[Any]:
        """Norms of what the weights have moved by since they were kept, likewise; NaN where they were not.

        Args:
            moved: The same weights, or those that have taken their place.
        """
        if not self._is_kept:
            return [math.nan] * len(moved)
        seen = self._readable(moved)
        if are_on_host(seen):
            return norms_of_differences(seen, self._before)
        return [norms([after - before for after, before in zip(seen, self._before, strict=True)])]

    def update(self, place: int, moved: Sequence[Array]) -> Array:
        """What one of the weights has moved by, in its own library; NaN where it was not kept."""
        if not self._is_kept:
            return moved[place] * math.nan
        one = [moved[place]]
        seen = self._seen[place] if moved is self._given else (host_views(one) or [readable(*one)])[0]
        return returned(seen - self._before[place], *one)

    def forget(self) -> None:
        """The step has ended; what is kept is no longer from before one."""
        self._is_kept = False

    def release(self) -> None:
        """Lets go of the weights that were given; the copies stay, to be written over."""
        self._given, self._seen = (), []

    def _readable(self, arrays: Sequence[Array]) -> list[Any]:
        # A look at each of hundreds of arrays takes longer than a look at what is in them.
        if arrays is self._given:
            return self._seen
        views = host_views(arrays)
        # What is no view has to be read anew each time; and what lies on an accelerator is not held on to.
        self._given, self._seen = (arrays, views) if views else ((), [])
        return views or [readable(array) for array in arrays]


def _are_alike(some: list[Any], others: list[Any]) -> bool:
    def kinds(arrays: list[Any]) -> list[Any]:
        return [(array.shape, array.dtype, array.device) for array in arrays]

    return kinds(some) == kinds(others)


def _copied(arrays: list[Any], copies: list[Any]) -> list[Any]:
    """Copies of arrays on an accelerator, in one call where their library has one."""
    fused = getattr(sys.modules.get("torch"), "_foreach_copy_", None)
    if fused is None or not _are_alike(arrays, copies):
        return [namespace_of(array).asarray(array, copy=True) for array in arrays]
    fused(copies, arrays)
    return copies
