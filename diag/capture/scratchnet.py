"""Turns the hooks of a scratchnet model into events; the twin of the capture for PyTorch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import scratchnet as sn
from diag.capture import contract
from diag.capture.contract import (
    Closure,
    Hear,
    MissedPasses,
    OptimizerState,
    Overhear,
    Signal,
    Tell,
    Work,
    is_uniform,
)
from diag.events import Event, Layer, Parameter
from scratchnet.hooks import Handle
from scratchnet.undisturbed import undisturbed

Flat = NDArray[Any]
PARAMETRIZED = "parametrizations"


class Capture(contract.Capture):
    """Listens to one scratchnet model and its optimiser; see `diag.capture.contract`."""

    def __init__(
        self,
        model: sn.nn.Module,
        optimizer: sn.optim.Optimizer,
        criterion: sn.nn.Module | None,
        *,
        name: str,
        hear: Hear,
        before_step: Signal,
        after_step: Signal,
        tell: Tell,
        work: Work,
        wants: frozenset[str],
    ) -> None:
        self.model = model
        self.name = name
        self._optimizer = optimizer
        self._criterion = criterion
        self._hear = hear
        self._tell = tell
        self._work = work
        self._wants = wants
        self._before_step = before_step
        self._after_step = after_step
        self._modules = _layer_modules(model, name)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._parameters = _moved_parameters(model, optimizer, name)
        self._names = tuple(self._parameters)
        self._handles: list[Handle] = []
        self._norms_before_clipping: dict[str, float] = {}
        self._is_clipped = self._has_passed = False
        self._missed = MissedPasses(tell, name)
        self._idle: set[int] = set()
        self._step_handles = [
            optimizer.register_step_pre_hook(self._on_pre_step),
            optimizer.register_step_post_hook(self._on_post_step),
        ]
        self._listening = False
        self._told_unheard = False
        self.evaluations = 0

    # ---------------------------------------------------------------------------- description

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers in the order in which the model holds them."""
        return tuple(
            Layer(
                name, type(module).__name__, self._shapes.get(name, ()), tuple(_own_parameters(name, module))
            )
            for name, module in self._modules.items()
        )

    @property
    def modules(self) -> Mapping[str, sn.nn.Module]:
        """The modules that compute, by the name of the layer."""
        return self._modules

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter of the model."""
        return tuple(
            Parameter(
                full,
                layer,
                parameter.shape,
                full in self._parameters,
                requires_grad=parameter.requires_grad,
                is_uniform=not (full in self._parameters and parameter.requires_grad)
                and is_uniform(parameter.array),
            )
            for layer, module in self._modules.items()
            for full, parameter in _own_parameters(layer, module).items()
        )

    # ------------------------------------------------------------------------------ listening

    @property
    def listening(self) -> bool:
        """Whether the step in progress is recorded; while False no module holds a hook of ours."""
        return self._listening

    @listening.setter
    def listening(self, value: bool) -> None:
        if value and not self._listening:
            self._attach()
        elif self._listening and not value:
            self._detach()
        self._listening = value

    def _attach(self) -> None:
        self._handles.append(self.model.register_forward_hook(self._on_network))
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._on_forward(name)))
            if "output_gradient" in self._wants:
                self._handles.append(module.register_backward_hook(self._on_backward(name)))
        if self._criterion is not None:
            self._handles.append(self._criterion.register_forward_hook(self._on_criterion))
        self._listen_for_passes()
        for name, parameter in self._parameters.items():
            self._handles.append(parameter.register_clip_hook(partial(self._on_clip, name)))

    def _listen_for_passes(self) -> None:
        # The last takes part in every backward pass, unless its layer is not used.
        asking = [parameter for parameter in self._differentiable() if id(parameter) not in self._idle]
        for parameter in asking[-1:]:
            self._handles.append(parameter.register_hook(self._on_pass))

    def _leave_out_the_idle(self) -> None:
        """No pass was heard: the parameter that was asked may have taken no part, which shows by its gradient."""
        asking = self._differentiable()
        idle = {id(parameter) for parameter in asking if parameter.grad is None} - self._idle
        if idle and any(parameter.grad is not None for parameter in asking):
            self._idle |= idle
            self._listen_for_passes()

    def _detach(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    def close(self) -> None:
        """Removes every hook; the model is as it was."""
        self.listening = False
        while self._step_handles:
            self._step_handles.pop().remove()

    def _is_training(self) -> bool:
        return self.model.training and sn.is_recording()

    def _on_forward(self, name: str) -> Callable[..., None]:
        def hook(_module: sn.nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
            spoken = _spoken(output)
            if self._is_training() and isinstance(spoken, sn.Tensor):
                self._shapes.setdefault(name, spoken.shape[1:])
                self._hear(Event("activation", name, spoken.array))

        return hook

    def _on_backward(self, name: str) -> Callable[..., None]:
        def hook(_module: sn.nn.Module, gradient: Any) -> None:
            self._hear(Event("output_gradient", name, gradient))

        return hook

    def _on_network(self, _model: sn.nn.Module, inputs: tuple[Any, ...], _output: Any) -> None:
        self.evaluations += self.model.training and not sn.is_recording()
        if self._is_training() and inputs:
            self._hear(Event("input", "", np.asarray(inputs[0])))

    def _on_criterion(self, _criterion: sn.nn.Module, inputs: tuple[Any, ...], loss: Any) -> None:
        if not self._is_training():
            return
        for kind, value in zip(("prediction", "target"), inputs, strict=False):
            self._hear(Event(kind, "", np.asarray(value)))  # type: ignore[arg-type]
        self._hear(Event("loss", "", np.asarray(loss).mean()))

    # ------------------------------------------------------------------------ optimiser's step

    def _on_pre_step(self, _optimizer: sn.optim.Optimizer) -> None:
        self._before_step(self)
        if not self._listening:
            return
        with self._work("capture of the optimiser's step", self.name):
            self._hear(Event("weight", self._names, self._weights()))
            self._tell_gradients()

    def _tell_gradients(self) -> None:
        gradients = {name: p.grad.array for name, p in self._parameters.items() if p.grad is not None}
        self._missed.note(has_passed=self._has_passed)
        # Once somebody has clipped, the norms before stand at every step, as those after do; of a pass that was not
        # heard nobody knows them.
        if self._is_clipped and self._has_passed:
            kept = self._norms_before_clipping
            norms = [kept[name] if name in kept else _norm(gradient) for name, gradient in gradients.items()]
            self._hear(Event("unclipped_gradient", ("",), [np.array(norms)]))
        self._hear(Event("gradient", tuple(gradients), list(gradients.values())))

    def _on_pass(self, _gradient: Flat) -> None:
        """Another backward pass: what was clipped before it has been added to, or thrown away."""
        self._has_passed = True
        self._norms_before_clipping.clear()

    def _on_clip(self, name: str, gradient: Flat) -> None:
        with self._work("capture of gradients before clipping", name):
            self._is_clipped = True
            # The first time since the pass counts: who clips twice has clipped once by then.
            self._norms_before_clipping.setdefault(name, _norm(gradient))

    def _on_post_step(self, _optimizer: sn.optim.Optimizer) -> None:
        if self._listening:
            with self._work("capture of the optimiser's step", self.name):
                self._hear(Event("moved_weight", self._names, self._weights()))
                self._tell_unheard()
                if not self._has_passed:
                    self._leave_out_the_idle()
        self._has_passed = False
        self._norms_before_clipping.clear()
        self._after_step(self)

    def _weights(self) -> list[Flat]:
        return [parameter.array for parameter in self._parameters.values()]

    def _tell_unheard(self) -> None:
        """Tells, at the first step of which anything was heard, which layers were not."""
        if self._shapes and not self._told_unheard:
            self._told_unheard = True
            for layer in self._modules:
                if layer not in self._shapes:
                    self._tell(
                        "unseen", layer, "it did not run at the first recorded step, or gave no tensor"
                    )

    # ---------------------------------------------------------------------- on a batch of its own

    def make_hvp(self, closure: Closure) -> tuple[Callable[[Flat], Flat], int, Flat]:
        """A Hessian-vector product on flat vectors, its dimension, and an array like the vectors.

        The loss is computed once, in evaluation mode and unheard; gradients and modes stay as they were. Frozen
        parameters are left out.
        """
        parameters = self._differentiable()
        with self._unheard(), undisturbed(self.model):
            self.model.eval()
            product = sn.make_hvp(closure, parameters)
        shapes = [parameter.shape for parameter in parameters]
        bounds = np.cumsum([parameter.size for parameter in parameters])

        def hvp(vector: Flat) -> Flat:
            parts = np.split(vector, bounds[:-1])
            columns = product([part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])
            return np.concatenate([column.ravel() for column in columns])

        return hvp, int(bounds[-1]), parameters[0].array

    def gradients(self, closure: Closure) -> list[Flat]:
        """Gradient of a closure's loss by each trained parameter, in evaluation mode."""
        parameters = self._differentiable()
        with self._unheard(), undisturbed(self.model):
            self.model.eval()
            found = sn.grad(closure(), parameters, allow_unused=True)
        return [
            np.zeros_like(parameter.array) if gradient is None else gradient.array
            for gradient, parameter in zip(found, parameters, strict=True)
        ]

    def overhear(self, closure: Closure, hear: Overhear, *, in_evaluation: bool = True) -> Flat:
        """Runs a closure without a tape and tells what each layer makes of it; see `diag.capture.contract`."""
        watched = [*self._modules.items(), *([] if self._criterion is None else [("", self._criterion)])]
        with self._unheard(), undisturbed(self.model), sn.no_grad():
            if in_evaluation:
                self.model.eval()
            handles = [module.register_forward_hook(_overhearing(name, hear)) for name, module in watched]
            try:
                return np.asarray(closure())
            finally:
                for handle in handles:
                    handle.remove()

    def optimizer_state(self) -> list[OptimizerState]:
        """What the optimiser keeps, by parameter as in `make_hvp`; a copy."""
        kept = self._optimizer.state_dict()["state"]
        members = [(p, group) for group in self._optimizer.param_groups for p in group["params"]]
        of_each = {
            id(p): OptimizerState(kept.get(place, {}), group) for place, (p, group) in enumerate(members)
        }
        return [of_each[id(parameter)] for parameter in self._differentiable()]

    def _differentiable(self) -> list[sn.nn.Parameter]:
        return [parameter for parameter in self._parameters.values() if parameter.requires_grad]

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        was_listening, self.listening = self.listening, False
        try:
            yield
        finally:
            self.listening = was_listening


def _layer_modules(model: sn.nn.Module, name: str) -> dict[str, sn.nn.Module]:
    """The modules that compute, by full name: leaves, and containers that own parameters themselves."""
    return {
        ".".join(filter(None, (name, path))) or type(model).__name__: module
        for path, module in model.named_modules()
        if PARAMETRIZED not in path.split(".")
        and (_own_parameters("", module) or not (_parts(module) or isinstance(module, sn.nn.Sequential)))
    }


def _parts(module: sn.nn.Module) -> list[str]:
    below = (name for name, _ in module.named_modules())
    return [name for name in below if name and name.split(".")[0] != PARAMETRIZED]


def _own_parameters(layer: str, module: sn.nn.Module) -> dict[str, sn.nn.Parameter]:
    """A layer's own parameters, and those that one of them is derived from, as in weight normalisation."""
    return {
        f"{layer}.{name}": parameter
        for name, parameter in module.named_parameters()
        if "." not in name or name.startswith(f"{PARAMETRIZED}.")
    }


def _moved_parameters(
    model: sn.nn.Module, optimizer: sn.optim.Optimizer, name: str
) -> dict[str, sn.nn.Parameter]:
    """The model's parameters that the optimiser moves, by full name, each once."""
    moved = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    found: dict[str, sn.nn.Parameter] = {}
    for layer, module in _layer_modules(model, name).items():
        for full, parameter in _own_parameters(layer, module).items():
            if parameter in moved:
                found[full] = parameter
                moved.remove(parameter)
    return found


def _norm(gradient: Flat) -> float:
    return float(sn.nn.utils.get_total_norm([gradient]))


def _spoken(output: Any) -> Any:
    """What a module says: a recurrent or an attention layer gives its state or its weights beside its output."""
    return output[0] if isinstance(output, tuple) else output


def _overhearing(name: str, hear: Overhear) -> Callable[..., None]:
    def hook(_module: sn.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        spoken = _spoken(output)
        if isinstance(spoken, sn.Tensor):
            arrays = (each for each in inputs if isinstance(each, sn.Tensor | np.ndarray))
            hear(name, tuple(map(np.asarray, arrays)), spoken.array)

    return hook
