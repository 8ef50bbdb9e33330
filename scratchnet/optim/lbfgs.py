"""L-BFGS: Newton's method with the curvature guessed from the last few steps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from scratchnet.optim.line_search import Trial, strong_wolfe
from scratchnet.optim.optimizer import Closure, Optimizer, check_at_least
from scratchnet.tape import Array

LEAST_CURVATURE = 1e-10


@dataclass
class Memory:
    """What L-BFGS knows from earlier iterations.

    Attributes:
        n_iter: Iterations so far.
        func_evals: Evaluations of the loss so far.
        d: The last direction.
        t: How far it was followed.
        old_stps: Steps s, the oldest first, shape ``(kept, weights)`` when saved.
        old_dirs: Changes of the gradient y over these steps.
        ro: 1 / (y · s) for each.
        H_diag: The scale of the first guess.
        prev_flat_grad: The gradient at which the last direction was computed.
    """

    n_iter: int = 0
    func_evals: int = 0
    d: Array = field(default_factory=lambda: np.empty(0))
    t: float = 0.0
    old_stps: list[Array] = field(default_factory=list)
    old_dirs: list[Array] = field(default_factory=list)
    ro: list[float] = field(default_factory=list)
    H_diag: float = 1.0
    prev_flat_grad: Array = field(default_factory=lambda: np.empty(0))

    def begin(self, gradient: Array, group: Mapping[str, Any]) -> Array:
        """Begins an iteration, and gives its direction."""
        self.n_iter += 1
        if self.n_iter == 1:
            # Nothing is known of the curvature: the weights move by the rate at most, all taken together.
            self.t = min(1.0, 1 / float(np.abs(gradient).sum())) * group["lr"]
        else:
            self._remember(self.t * self.d, gradient - self.prev_flat_grad, group["history_size"])
            self.t = group["lr"]
        self.d, self.prev_flat_grad = self._newton(gradient), gradient
        return self.d

    def _newton(self, gradient: Array) -> Array:
        """−H g, where H is the guess of the inverse Hessian: the two loops of the reference."""
        direction, shares = -gradient, []
        pairs = list(zip(self.old_stps, self.old_dirs, self.ro, strict=True))
        for step, change, inverse in reversed(pairs):
            shares.append(inverse * float(step @ direction))
            direction -= shares[-1] * change
        direction *= self.H_diag
        for (step, change, inverse), share in zip(pairs, reversed(shares), strict=True):
            direction += (share - inverse * float(change @ direction)) * step
        return direction

    def _remember(self, step: Array, change: Array, history_size: int) -> None:
        curvature = float(change @ step)
        # A guess with a direction of no or negative curvature in it would not lead downhill.
        if curvature <= LEAST_CURVATURE:
            return
        self.old_stps.append(step)
        self.old_dirs.append(change)
        self.ro.append(1 / curvature)
        for kept in (self.old_stps, self.old_dirs, self.ro):
            del kept[: max(0, len(kept) - history_size)]
        self.H_diag = curvature / float(change @ change)

    def saved(self) -> dict[str, Any]:
        """A copy as numbers and arrays."""
        return {
            part.name: np.array(value) if isinstance(value, np.ndarray | list) else value
            for part in fields(self)
            for value in [getattr(self, part.name)]
        }

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> "Memory":
        """The memory that `saved` gave, or an empty one."""
        if not saved:
            return cls()
        return cls(
            n_iter=int(saved["n_iter"]),
            func_evals=int(saved["func_evals"]),
            d=np.array(saved["d"]),
            t=float(saved["t"]),
            old_stps=[np.array(step) for step in saved["old_stps"]],
            old_dirs=[np.array(change) for change in saved["old_dirs"]],
            ro=[float(inverse) for inverse in saved["ro"]],
            H_diag=float(saved["H_diag"]),
            prev_flat_grad=np.array(saved["prev_flat_grad"]),
        )


class LBFGS(Optimizer):
    """L-BFGS: w ← w + t d with d = −H g, where H guesses the inverse Hessian from the last steps.

    H is the BFGS update, which satisfies H y = s for the newest step s and its change of gradient y, over
    all steps kept, begun at (y · s) / (y · y) I. One call of `step` takes up to ``max_iter`` such
    iterations. It is made for a loss that is the same each time: the whole data set, no dropout.

    Listeners hear the weights and the gradient at the start before a step. After it weights are new, and the
    gradient is that of the last evaluation, which with a line search need not be where the weights are.

    Args:
        params: Parameters, or one group of them.
        lr: t, or the first t that the line search tries; the very first step is at most ``lr`` / ‖g‖₁ long.
        max_iter: Iterations a step.
        max_eval: Evaluations of the loss a step, 1.25 ``max_iter`` by default.
        tolerance_grad: A step ends where no element of the gradient is larger,
        tolerance_change: or neither the loss nor any weight changes by more.
        history_size: Steps kept, two vectors each.
        line_search_fn: ``"strong_wolfe"``, or None for t = ``lr``.

    Raises:
        ValueError: If there is a second group, or a hyperparameter is out of range.

    References:
        Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    """

    needs_closure: ClassVar[bool] = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        self._memory = Memory()
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        check_at_least("LBFGS", 0, group, "lr", "tolerance_grad", "tolerance_change")
        check_at_least("LBFGS", 1, group, "max_iter", "max_eval", "history_size")
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(
                f"LBFGS needs line_search_fn None or 'strong_wolfe', got {group['line_search_fn']!r}"
            )

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Refuses a second group: there is one guess of the curvature for all parameters."""
        if self.param_groups:
            raise ValueError("LBFGS needs all parameters in one group, got a second; pass model.parameters()")
        super().add_param_group(group)

    # ---------------------------------------------------------------------------------------- step

    def step(self, closure: Closure | None = None) -> Any:
        """Takes up to ``max_iter`` iterations; returns what the closure returned first."""
        loss = self._evaluate(closure)
        self._pre_hooks(self)
        self._minimize(closure, float(loss))
        self._post_hooks(self)
        return loss

    def _minimize(self, closure: Closure | None, loss: float) -> None:
        group, memory = self.param_groups[0], self._memory
        gradient = self._buffers[0].flat_gradient()
        memory.func_evals += 1
        left = group["max_eval"] - 1
        if _largest(gradient) <= group["tolerance_grad"]:
            return
        for to_come in reversed(range(group["max_iter"])):
            direction = memory.begin(gradient, group)
            here = Trial(0.0, loss, gradient, float(gradient @ direction))
            if here.slope > -group["tolerance_change"]:
                return
            there, tries = self._go(closure, here, most=left, is_last=not to_come)
            left -= tries
            memory.func_evals += tries
            if not to_come or left <= 0 or self._is_done(here, there):
                return
            loss, gradient = there.loss, there.gradient

    def _go(self, closure: Closure | None, here: Trial, *, most: int, is_last: bool) -> tuple[Trial, int]:
        """Follows the memory's direction; where that led, and how many evaluations it took."""
        group, memory, buffer = self.param_groups[0], self._memory, self._buffers[0]
        origin, direction = buffer.weights.copy(), memory.d

        def evaluate(distance: float) -> Trial:
            buffer.weights[...] = origin + distance * direction
            loss = float(self._evaluate(closure))
            gradient = buffer.flat_gradient()
            return Trial(distance, loss, gradient, float(gradient @ direction))

        if group["line_search_fn"] is None and not is_last:
            return evaluate(memory.t), 1
        there, tries = here, 0
        if group["line_search_fn"] is not None:
            reach, tolerance = _largest(direction), group["tolerance_change"]
            there, tries = strong_wolfe(evaluate, here, memory.t, reach=reach, tolerance=tolerance, most=most)
            memory.t = there.distance
        # Without a search nobody asks for the loss behind the last step: the next call computes it anyway.
        buffer.weights[...] = origin + memory.t * direction
        return there, tries

    def _is_done(self, here: Trial, there: Trial) -> bool:
        group, memory = self.param_groups[0], self._memory
        return (
            _largest(there.gradient) <= group["tolerance_grad"]
            or memory.t * _largest(memory.d) <= group["tolerance_change"]
            or abs(there.loss - here.loss) < group["tolerance_change"]
        )

    # --------------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """See the base class; the memory stands at the first parameter, as in PyTorch."""
        return {
            "state": {0: self._memory.saved()} if self._memory.n_iter else {},
            "param_groups": self._saved_groups(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See the base class."""
        self._check_groups(state["param_groups"])
        saved, size = state["state"].get(0, {}), self._buffers[0].weights.size
        if saved and np.size(saved["d"]) != size:
            raise ValueError(f"LBFGS needs a memory of {size} weights, got one of {np.size(saved['d'])}")
        self._memory = Memory.restored(saved)
        self._load_groups(state["param_groups"])


def _largest(vector: Array) -> float:
    return float(np.abs(vector).max(initial=0.0))
