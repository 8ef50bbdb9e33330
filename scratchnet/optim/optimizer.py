"""What all optimisers share: groups of parameters, the step with its listeners, and state that can be saved."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain, pairwise
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from scratchnet.hooks import Handle, Hooks
from scratchnet.nn.module import Parameter
from scratchnet.optim.flat import FlatBuffer, Numbers, Run
from scratchnet.tape import Array, Variable, recording

Closure = Callable[[], Any]


class Optimizer:
    """Moves parameters against their gradients; each subclass says how far, in its `update`.

    All parameters of a group lie in one vector and their gradients in another, which is what makes a
    step fast. **After an optimiser is made, `parameter.grad` is therefore a view** that keeps its place
    from step to step: the next backward pass writes over it, and `zero_grad` does not keep it. Take
    ``parameter.grad.numpy().copy()`` of what you want to keep.

    Args:
        params: Parameters, or groups of them: mappings with ``"params"`` and whatever hyperparameters differ.
        defaults: Hyperparameters of a group that does not give its own.

    Attributes:
        param_groups: One mapping a group, with ``"params"`` and the hyperparameters; changing
            ``param_groups[0]["lr"]`` takes effect at the next step.
        defaults: As given.
        is_elementwise: Whether `update` treats every weight by itself. It is then given many parameters
            at once, in flat pieces of a size that suits the cache; otherwise one parameter at a time.
        needs_closure: Whether a step computes the loss itself, more than once.
        numbers: Names and first values of the state that is one number for a parameter, not an array.

    Raises:
        ValueError: If there is no parameter, one stands in two groups, or a group's hyperparameter is
            unknown or out of range.
        TypeError: If something else than a parameter is given, or a group mixes dtypes.
    """

    is_elementwise: ClassVar[bool] = True
    needs_closure: ClassVar[bool] = False
    numbers: ClassVar[Mapping[str, float]] = MappingProxyType({"step": 0})

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.param_groups: list[dict[str, Any]] = []
        self._buffers: list[FlatBuffer] = []
        self._pre_hooks = Hooks()
        self._post_hooks = Hooks()
        for group in _groups(type(self).__name__, params):
            self.add_param_group(group)
        if not any(group["params"] for group in self.param_groups):
            raise ValueError(
                f"{type(self).__name__} needs at least one parameter, got none; pass model.parameters()"
            )

    # -------------------------------------------------------------------------------------- groups

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Adds a group of parameters, as when layers are unfrozen during fine-tuning.

        Args:
            group: ``"params"``, and the hyperparameters that differ from the defaults.

        Raises:
            ValueError: If a parameter is already there, or a hyperparameter is unknown or out of range.
            TypeError: If something else than a parameter is given, or dtypes are mixed.
        """
        complete = {**self.defaults, **group, "params": _members(group)}
        self._check_names(group)
        self._check_parameters(complete["params"])
        self.check(complete)
        name = type(self).__name__
        self._buffers.append(FlatBuffer(name, complete["params"], self.numbers, self.is_elementwise))
        self.param_groups.append(complete)

    def _check_names(self, group: Mapping[str, Any]) -> None:
        unknown = sorted(group.keys() - self.defaults.keys() - {"params"})
        if unknown:
            raise ValueError(
                f"{type(self).__name__} needs hyperparameters that it knows in a group, got {unknown}; "
                f"it knows {sorted(self.defaults)}"
            )

    def _check_parameters(self, parameters: list[Any]) -> None:
        name = type(self).__name__
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(
                    f"{name} needs parameters, got {type(parameter).__name__}; pass model.parameters()"
                )
        present = list(chain.from_iterable(group["params"] for group in self.param_groups))
        if len({*present, *parameters}) < len(present) + len(parameters):
            raise ValueError(f"{name} needs each parameter once, got one twice; check the groups")

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuses a complete group whose hyperparameters or parameters cannot be; subclasses say which."""

    # ---------------------------------------------------------------------------------------- step

    def register_step_pre_hook(self, hook: Callable[["Optimizer"], None]) -> Handle:
        """Has ``hook(optimizer)`` called before each step: weights are old, gradients final.

        With a closure it is called once the gradients are there, and before any weight has moved.
        """
        return self._pre_hooks.add(hook)

    def register_step_post_hook(self, hook: Callable[["Optimizer"], None]) -> Handle:
        """Has ``hook(optimizer)`` called after each step: weights are new, gradients still there."""
        return self._post_hooks.add(hook)

    def zero_grad(self) -> None:
        """Forgets all gradients: ``parameter.grad`` is None, and its memory serves the next backward pass."""
        for buffer in self._buffers:
            for parameter in buffer.parameters:
                parameter.grad = None

    def step(self, closure: Closure | None = None) -> Any:
        """Moves every parameter that has a gradient.

        Args:
            closure: Forgets the gradients, computes the loss and its gradients, and returns the loss.
                It is called first; most optimisers do without it.

        Returns:
            What the closure returned; None without one.

        Raises:
            TypeError: If there is no closure and the optimiser needs one.
        """
        loss = self._evaluate(closure)
        if self._pre_hooks:
            self._pre_hooks(self)
        self._move()
        if self._post_hooks:
            self._post_hooks(self)
        return loss

    def _evaluate(self, closure: Closure | None) -> Any:
        if closure is not None:
            with recording(True):
                return closure()
        if self.needs_closure:
            raise TypeError(
                f"{type(self).__name__} needs a closure, for it computes the loss more than once a step; call "
                f"step(closure), where closure() calls zero_grad() and backward() and returns the loss"
            )
        return None

    def _move(self) -> None:
        for group, buffer in zip(self.param_groups, self._buffers, strict=True):
            for numbers, pieces in buffer.runs():
                self.advance(group, numbers)
                for piece in pieces:
                    self.update(group, piece)

    def advance(self, group: Mapping[str, Any], numbers: Numbers) -> None:
        """Brings the numbers of parameters that are about to move up to date, once a step."""
        numbers["step"] += 1

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """Moves the weights of one run in place; every subclass writes its own."""
        raise TypeError(f"{type(self).__name__} needs an update method")

    # --------------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that a later training needs to go on exactly from here, the weights apart.

        Returns:
            ``"state"``, with one mapping of names to arrays and numbers for each parameter, by its position
            over all groups; and ``"param_groups"``, the groups with positions for ``"params"``. Names
            are PyTorch's where PyTorch has the optimiser.
        """
        entries = chain.from_iterable(buffer.entries() for buffer in self._buffers)
        return {
            "state": {position: entry for position, entry in enumerate(entries) if entry},
            "param_groups": self._saved_groups(),
        }

    def _saved_groups(self) -> list[dict[str, Any]]:
        return [
            {**group, "params": positions}
            for group, positions in zip(self.param_groups, self._positions(), strict=True)
        ]

    def _positions(self) -> list[list[int]]:
        bounds = np.cumsum([0, *(len(group["params"]) for group in self.param_groups)]).tolist()
        return [list(range(*pair)) for pair in pairwise(bounds)]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave, or its PyTorch twin with arrays for tensors.

        Args:
            state: State and groups of an optimiser of this class over parameters of the same shapes.

        Raises:
            ValueError: If groups, hyperparameters or shapes do not fit; nothing is changed then.
        """
        self._check_groups(state["param_groups"])
        entries = [
            [state["state"].get(position, {}) for position in positions] for positions in self._positions()
        ]
        for buffer, found in zip(self._buffers, entries, strict=True):
            buffer.check_entries(found)
        for buffer, found in zip(self._buffers, entries, strict=True):
            buffer.load(found)
        self._load_groups(state["param_groups"])

    def _check_groups(self, saved: list[Mapping[str, Any]]) -> None:
        name = type(self).__name__
        sizes = [len(group["params"]) for group in saved]
        wanted = [len(group["params"]) for group in self.param_groups]
        if sizes != wanted:
            raise ValueError(f"{name} needs groups of {wanted} parameters, got groups of {sizes}")
        for group, own in zip(saved, self.param_groups, strict=True):
            missing = sorted(self.defaults.keys() - group.keys())
            if missing:
                raise ValueError(f"{name} needs {missing} in every saved group; is it another optimiser's?")
            self.check({**group, "params": own["params"]})

    def _load_groups(self, saved: list[Mapping[str, Any]]) -> None:
        for group, own in zip(saved, self.param_groups, strict=True):
            own.update({name: value for name, value in group.items() if name != "params"})


def _groups(owner: str, params: Iterable[Any]) -> list[Mapping[str, Any]]:
    if isinstance(params, Variable):
        raise TypeError(
            f"{owner} needs a list of parameters, got one {type(params).__name__}; write [parameter]"
        )
    given = list(params)
    if given and all(isinstance(group, Mapping) for group in given):
        return given
    return [{"params": given}]


def _members(group: Mapping[str, Any]) -> list[Any]:
    if "params" not in group:
        raise ValueError(f'an optimiser needs "params" in every group, got only {sorted(group)}')
    members = group["params"]
    if isinstance(members, set | frozenset):
        raise TypeError("an optimiser needs its parameters in an order, got a set; pass a list")
    return [members] if isinstance(members, Variable) else list(members)


# ----------------------------------------------------------------------------- what several rules share


def turned(group: Mapping[str, Any], run: Run) -> Array:
    """The gradient of what is to shrink: the other way round where the loss is to grow."""
    return np.negative(run.gradients, out=run.scratch("slope")) if group["maximize"] else run.gradients


def slope(group: Mapping[str, Any], run: Run) -> Array:
    """The gradient to go against, with the pull of weight decay λ w in it.

    Weight decay that is decoupled shrinks the weights instead, at once.
    """
    gradient = turned(group, run)
    if not group["weight_decay"]:
        return gradient
    if group.get("decoupled_weight_decay"):
        shrink(group, run)
        return gradient
    pull = np.multiply(run.weights, group["weight_decay"], out=run.scratch("pull"))
    return np.add(gradient, pull, out=run.scratch("slope"))


def shrink(group: Mapping[str, Any], run: Run) -> None:
    """Decoupled weight decay: w ← (1 − η λ) w."""
    if group["weight_decay"]:
        run.weights *= 1 - group["lr"] * group["weight_decay"]


def average(mean: Array, value: Array, keep: float, room: Array) -> None:
    """Moves a running mean in place: m ← β m + (1 − β) x, where β is what it keeps."""
    mean *= keep
    mean += np.multiply(value, 1 - keep, out=room)


def average_square(mean: Array, value: Array, keep: float, room: Array) -> None:
    """Moves a running mean of squares in place: v ← β v + (1 − β) x²."""
    mean *= keep
    np.multiply(value, value, out=room)
    room *= 1 - keep
    mean += room


# ------------------------------------------------------------------------------ hyperparameters that can be


def check_at_least(owner: str, least: float, group: Mapping[str, Any], *names: str) -> None:
    """Refuses hyperparameters below a bound.

    Raises:
        ValueError: Naming the optimiser, the hyperparameter and what came.
    """
    for name in names:
        if not group[name] >= least:
            raise ValueError(f"{owner} needs {name} >= {least:g}, got {name}={group[name]}")


def check_fractions(owner: str, group: Mapping[str, Any], *names: str) -> None:
    """Refuses hyperparameters outside [0, 1), such as what a running mean keeps.

    Raises:
        ValueError: Naming the optimiser, the hyperparameter and what came.
    """
    for name in names:
        if not 0 <= group[name] < 1:
            raise ValueError(f"{owner} needs {name} in [0, 1), got {name}={group[name]}")


def check_betas(owner: str, group: Mapping[str, Any]) -> None:
    """Refuses two running means' fractions if one is outside [0, 1).

    Raises:
        ValueError: Naming the optimiser and what came.
    """
    betas = group["betas"]
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"{owner} needs both betas in [0, 1), got {betas}")
