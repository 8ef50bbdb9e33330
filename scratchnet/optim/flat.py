"""Parameters side by side in one vector, dealt out to an optimiser's rule in pieces that fit the cache."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from types import EllipsisType
from typing import Any

import numpy as np

from scratchnet.nn.module import Parameter
from scratchnet.tape import Array

# Elements a piece. Weights, gradients, state and scratch of one piece then stay in a core's cache while
# the rule passes over them several times; smaller pieces cost more calls than the cache saves.
BLOCK = 1 << 15

Numbers = dict[str, float]


class Run:
    """A piece of a group's parameters, as an optimiser's rule sees it.

    An elementwise rule gets flat vectors, each several parameters or a part of one; any other rule
    gets one parameter at a time, in its own shape.

    Attributes:
        weights: Read and written in place.
        gradients: As they came; not written into.
        numbers: State that is one number for the whole piece, ``"step"`` among it.
        memory: Where the state lies, by name. A rule that is not elementwise may keep arrays of other
            shapes than the parameter's here.
    """

    __slots__ = (
        "_cut",
        "_scratch",
        "_spares",
        "_views",
        "_whole",
        "gradients",
        "memory",
        "numbers",
        "weights",
    )

    def __init__(
        self,
        whole: Array,
        gradients: Array,
        cut: slice | EllipsisType,
        numbers: Numbers,
        memory: dict[str, Array],
        spares: dict[str, Array],
    ) -> None:
        self.weights = whole[cut]
        self.gradients = gradients[cut]
        self.numbers = numbers
        self.memory = memory
        self._whole = whole
        self._cut = cut
        self._spares = spares
        self._views: dict[str, Array] = {}
        self._scratch: dict[str, Array] = {}

    @property
    def step(self) -> int:
        """How often these parameters have moved, this time included."""
        return int(self.numbers["step"])

    def state(self, name: str, start: float = 0.0) -> Array:
        """Named state shaped like the weights, written in place; ``start`` everywhere until it is."""
        view = self._views.get(name)
        if view is None:
            whole = self.memory.get(name)
            if whole is None:
                self.memory[name] = np.full_like(self._whole, start)
            elif whole.dtype != self._whole.dtype:
                self.memory[name] = whole.astype(self._whole.dtype)
            view = self._views[name] = self.memory[name][self._cut]
        return view

    def scratch(self, name: str) -> Array:
        """Room shaped like the weights for a result, which the next piece overwrites."""
        room = self._scratch.get(name)
        if room is None:
            size = self.weights.size
            if name not in self._spares or self._spares[name].size < size:
                self._spares[name] = np.empty(size, self.weights.dtype)
            room = self._scratch[name] = self._spares[name][:size].reshape(self.weights.shape)
        return room


class FlatBuffer:
    """Parameters side by side in one vector, and their gradients in another.

    A step is then a few operations on long vectors instead of a few on each parameter. Every
    parameter's array becomes a view of the vector, every gradient that arrives is written into the
    other, and named state (momentum and the like) is laid out in the same way.

    Args:
        owner: Whose parameters these are, for the errors.
        parameters: All of one dtype.
        numbers: What the numbers of each `Run` begin with.
        is_elementwise: Whether neighbours may be joined and parameters cut.

    Raises:
        TypeError: If dtypes are mixed.
    """

    def __init__(
        self, owner: str, parameters: Sequence[Parameter], numbers: Mapping[str, float], is_elementwise: bool
    ) -> None:
        self.parameters = list(parameters)
        self._owner = owner
        self._start = dict(numbers)
        self._is_elementwise = is_elementwise
        self._numbers: list[Numbers] = [dict(numbers) for _ in self.parameters]
        self._flat_memory: dict[str, Array] = {}
        self._memories: list[dict[str, Array]] = [{} for _ in self.parameters]
        self._lay_out()

    # -------------------------------------------------------------------------------------- layout

    def _lay_out(self) -> None:
        dtypes = sorted({str(parameter.dtype) for parameter in self.parameters})
        if len(dtypes) > 1:
            raise TypeError(f"{self._owner} needs one dtype in a group, got {dtypes}; split the group")
        bounds = np.cumsum([0, *(parameter.size for parameter in self.parameters)]).tolist()
        self.spans = [slice(start, stop) for start, stop in pairwise(bounds)]
        arrays = [parameter.array.ravel() for parameter in self.parameters]
        self.weights = np.concatenate(arrays) if arrays else np.empty(0)
        self.gradients = np.zeros_like(self.weights)
        self._spares: dict[str, Array] = {}
        self._runs: list[tuple[Numbers, list[Run]]] | None = None
        views = self._views(self.weights), self._views(self.gradients)
        self._places = list(zip(self.parameters, *views, strict=True))
        for parameter, weights, gradients in self._places:
            parameter.array = weights
            parameter.grad_buffer = gradients
            if parameter.grad is not None:
                gradients[...] = parameter.grad.array
                parameter.grad = parameter.make(gradients, None)

    def _views(self, flat: Array) -> list[Array]:
        return [flat[span].reshape(p.shape) for span, p in zip(self.spans, self.parameters, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        # What is laid out is not copied along: a copied view shares nothing with the copied vector.
        laid_out = {"spans", "weights", "gradients", "_spares", "_runs", "_places", "_settled"}
        return {name: value for name, value in self.__dict__.items() if name not in laid_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lay_out()

    # -------------------------------------------------------------------------------------- a step

    def runs(self) -> list[tuple[Numbers, list[Run]]]:
        """Pieces to move, by what they share: neighbours that have a gradient and equal numbers.

        Where nobody gave a parameter another array, and every gradient lies in the flat vector, this
        is one look at each parameter and the answer of the step before.
        """
        if self._runs is None or not self._is_settled():
            self._runs = self._settle()
        return self._runs

    def _is_settled(self) -> bool:
        for parameter, weights, gradients in self._settled:
            gradient = parameter.grad
            # Identity throughout: a parameter that had no gradient must again have none.
            found = None if gradient is None else gradient.array
            if found is not gradients or parameter.array is not weights:
                return False
        return True

    def _settle(self) -> list[tuple[Numbers, list[Run]]]:
        """Lays out what somebody replaced, a parameter's array (as `Module.double` does) or its gradient."""
        for parameter, weights, _ in self._places:
            self._check_shape("parameters", parameter.shape, weights.shape)
        if any(parameter.array is not weights for parameter, weights, _ in self._places):
            self._lay_out()
        for parameter, _, gradients in self._places:
            if parameter.grad is not None and parameter.grad.array is not gradients:
                self._check_shape("gradients", parameter.grad.shape, gradients.shape)
                gradients[...] = parameter.grad.array
        self._settled = [
            (parameter, weights, None if parameter.grad is None else gradients)
            for parameter, weights, gradients in self._places
        ]
        return [self._deal(indices) for indices in self._neighbours()]

    def _check_shape(self, what: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
        if found != wanted:
            raise ValueError(
                f"{self._owner} needs {what} of the shapes it was made for, got {found} in place of {wanted}; "
                f"make a new optimiser for a model that has changed its shape"
            )

    def _neighbours(self) -> Iterator[list[int]]:
        moving = [index for index, parameter in enumerate(self.parameters) if parameter.grad is not None]
        if not self._is_elementwise:
            return ([index] for index in moving)
        # Position minus rank is constant exactly within neighbours.
        alike = groupby(enumerate(moving), lambda pair: (pair[1] - pair[0], self._numbers[pair[1]]))
        return ([index for _, index in pairs] for _, pairs in alike)

    def _deal(self, indices: list[int]) -> tuple[Numbers, list[Run]]:
        # One dictionary for all of them: they move together until they are dealt out anew.
        numbers = dict(self._numbers[indices[0]])
        for index in indices:
            self._numbers[index] = numbers
        if not self._is_elementwise:
            _, weights, gradients = self._places[indices[0]]
            memory = self._memories[indices[0]]
            return numbers, [Run(weights, gradients, ..., numbers, memory, self._spares)]
        start, stop = self.spans[indices[0]].start, self.spans[indices[-1]].stop
        cuts = [slice(first, min(first + BLOCK, stop)) for first in range(start, stop, BLOCK)]
        whole = self.weights, self.gradients
        return numbers, [Run(*whole, cut, numbers, self._flat_memory, self._spares) for cut in cuts]

    def flat_gradient(self) -> Array:
        """All gradients in one new vector, zero where a parameter has none."""
        self.runs()
        gradient = self.gradients.copy()
        for span, parameter in zip(self.spans, self.parameters, strict=True):
            if parameter.grad is None:
                gradient[span] = 0
        return gradient

    # --------------------------------------------------------------------------------- saved state

    def entries(self) -> list[dict[str, Any]]:
        """A copy of each parameter's state; empty before the first step that keeps any."""
        flat = {name: self._views(vector) for name, vector in self._flat_memory.items()}
        found = []
        for index, numbers in enumerate(self._numbers):
            arrays = {name: views[index] for name, views in flat.items()} | self._memories[index]
            copies = {name: array.copy() for name, array in arrays.items()}
            found.append(numbers | copies if copies or numbers["step"] else {})
        return found

    def check_entries(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Refuses state of other parameters.

        Raises:
            ValueError: If there is an array that does not fit a parameter's shape.
        """
        for parameter, entry in zip(self.parameters, entries, strict=True):
            for name, value in entry.items():
                shape = parameter.shape if name not in self._start else ()
                found = np.shape(value)
                # A matrix of its own for each axis is state too, where the rule is not elementwise.
                if found != shape and (self._is_elementwise or not set(found) <= {*shape}):
                    raise ValueError(f"{self._owner} needs {name!r} of shape {shape}, got {found}")

    def load(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Takes over a copy of one entry for each parameter in place of all state."""
        self._runs, self._flat_memory = None, {}
        self._memories = [{} for _ in self.parameters]
        for index, entry in enumerate(entries):
            arrays = {name: np.array(value) for name, value in entry.items() if name not in self._start}
            # State without a step, as PyTorch's SGD saves it, has taken one at least.
            given = {"step": 1} | dict(entry) if arrays else entry
            self._numbers[index] = {
                name: np.asarray(given.get(name, start)).item() for name, start in self._start.items()
            }
            if not self._is_elementwise:
                self._memories[index] = arrays
            for name, array in arrays.items() if self._is_elementwise else ():
                flat = self._flat_memory.setdefault(name, np.zeros_like(self.weights))
                flat[self.spans[index]] = array.ravel()
