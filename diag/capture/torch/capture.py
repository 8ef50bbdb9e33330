"""Listens to one PyTorch model and its optimiser: when hooks sit on it, and what they make heard."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from diag.capture import contract
from diag.capture.contract import Closure, Hear, OptimizerState, Overhear, Signal, Tell, Work, is_uniform
from diag.capture.torch import layers
from diag.capture.torch.clipping import Clipping
from diag.capture.torch.curvature import Product, alone, gradients, make_hvp
from diag.capture.torch.ears import CriterionEar, EntranceEar, Hearing, LayerEar, NetworkEar
from diag.capture.torch.overhearing import overhear
from diag.capture.torch.passes import BackwardPasses
from diag.capture.torch.tensors import first_tensor, is_plain, lent, shards_of
from diag.events import Event, EventKind, Layer, Parameter


class Capture(contract.Capture):
    """Listens to one PyTorch model and its optimiser; see `diag.capture.contract`.

    Gradients are heard as the optimiser gets them: averaged, unscaled and clipped. Modules hold hooks only
    while a step is recorded and the network is not being evaluated; compiled code, which cannot take hooks
    in later, holds them until `close`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        criterion: nn.Module | None,
        *,
        name: str,
        hear: Hear,
        before_step: Signal,
        after_step: Signal,
        tell: Tell,
        work: Work,
        wants: frozenset[str],
    ) -> None:
        layers.check_supported(model)
        self.model = model
        self.name = name
        self._network = layers.unwrapped(model)
        self._optimizer = optimizer
        self._criterion = criterion
        self._hear = hear
        self._before_step = before_step
        self._after_step = after_step
        self._tell = tell
        self._work = work
        self._wants = wants
        self._modules = layers.layer_modules(self._network, name)
        self._passing = {
            subject: work("capture of a forward pass", subject) for subject in ("", *self._modules)
        }
        self._owned = layers.owned_parameters(self._modules)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._trained: dict[str, nn.Parameter] = {}
        self._names: tuple[str, ...] = ()
        self._lent_weights: list[torch.Tensor] = []
        self._places: list[tuple[int, int]] = []
        self._group_sizes: list[int] = []
        self._find_trained()
        self._hearing = Hearing(self, next(model.parameters()).device)
        self._ears = self._layer_ears()
        self._encoders = layers.encoder_layers(self._network)
        self._handles: list[Any] = []
        self._layer_handles: list[Any] = []
        self._step_handles = [
            optimizer.register_step_pre_hook(self._on_pre_step),
            optimizer.register_step_post_hook(self._on_post_step),
        ]
        self._passes = self._count_passes()
        self._clipping = None if self._passes is None else Clipping(model, self._passes, tell, name)
        self._listening = False
        self.evaluations = 0
        self._is_running = False
        self._has_heard = False
        self._told_nothing_heard = False
        self._told_unheard = False
        self._is_compiled = layers.is_compiled(model)
        if self._is_compiled:
            self._attach()

    def _find_trained(self) -> None:
        """The parameters that the optimiser moves, by full name."""
        groups = [group["params"] for group in self._optimizer.param_groups]
        moved = {id(parameter) for group in groups for parameter in group}
        self._trained = {name: parameter for name, _, parameter in self._owned if id(parameter) in moved}
        self._names = tuple(self._trained)
        self._group_sizes = [len(group) for group in groups]
        self._lent_weights, self._places = [], []

    def _count_passes(self) -> BackwardPasses | None:
        candidates = [parameter for parameter in self._trained.values() if parameter.requires_grad]
        if not candidates:
            return None
        return BackwardPasses(
            candidates, self._optimizer, self._tell, self._work, self.name, self._on_backward_end
        )

    # ---------------------------------------------------------------------------- description

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers in the order in which the model holds them."""
        return tuple(
            Layer(
                layer,
                layers.kind_of(module),
                self._shapes.get(layer, ()),
                tuple(owned.name for owned in self._owned if owned.layer == layer),
            )
            for layer, module in self._modules.items()
        )

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The modules that compute, by the name of the layer."""
        return self._modules

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter of the model, a tied one once."""
        return tuple(
            Parameter(
                name,
                layer,
                tuple(parameter.shape),
                name in self._trained,
                shards_of(parameter),
                parameter.requires_grad,
                is_uniform=not (name in self._trained and parameter.requires_grad) and _is_uniform(parameter),
            )
            for name, layer, parameter in self._owned
        )

    # ------------------------------------------------------------------------------ listening

    @property
    def listening(self) -> bool:
        """Whether the step in progress is recorded; while False no module holds a hook of ours."""
        return self._listening

    @listening.setter
    def listening(self, value: bool) -> None:
        if value and not self._listening and not self._is_compiled:
            self._attach()
        elif self._listening and not value and not self._is_compiled:
            self._detach()
        if not value:
            # Until the next recorded step they are the user's alone, who may want to have their memory elsewhere.
            self._lent_weights, self._places = [], []
        self._listening = value
        if self._passes is not None:
            self._passes.listening = value

    def _attach(self) -> None:
        network, hearing = self._network, self._hearing
        self._attach_layers()
        self._handles += [
            network.register_forward_pre_hook(EntranceEar(hearing)),
            network.register_forward_hook(NetworkEar(hearing), with_kwargs=True),
        ]
        if self._criterion is not None:
            self._handles.append(self._criterion.register_forward_hook(CriterionEar(hearing)))

    def _attach_layers(self) -> None:
        fused = layers.fused_modules(self._encoders)
        self._layer_handles += [
            module.register_forward_hook(ear) for module, ear in self._ears if module not in fused
        ]

    def _layer_ears(self) -> list[tuple[nn.Module, LayerEar]]:
        """The modules that are to hold a hook, each with its own."""
        names = {module: name for name, module in self._modules.items()}
        projections = layers.attention_projections(self._network)
        heard_with = {
            module: [names[inner], names[module]] for module, inner in projections.items() if inner in names
        }
        return [
            (module, LayerEar(self._hearing, heard_with.get(module, [name])))
            for module, name in names.items()
            if module not in projections.values()
        ]

    def _detach(self) -> None:
        _remove(self._layer_handles)
        _remove(self._handles)

    def close(self) -> None:
        """Removes every hook; the model is as it was."""
        self._listening = False
        self._detach()
        _remove(self._step_handles)
        if self._passes is not None:
            self._passes.close()

    # -------------------------------------------------------------------------- forward pass

    def on_enter(self) -> None:
        """The network is about to run: layers hold hooks if it is to be heard."""
        self._is_running = False
        self._is_running = self._is_heard()
        self.evaluations += self._listening and self._network.training and not torch.is_grad_enabled()
        if self._is_compiled:
            return
        with self._work("attaching of hooks", self.name):
            # An evaluation without a hook in sight may take the fused path that it would take without us.
            if not self._is_running:
                _remove(self._layer_handles)
            elif not self._layer_handles:
                self._attach_layers()

    def _is_heard(self) -> bool:
        """Whether what runs now is part of training, and not repeated by a checkpoint in the backward pass."""
        return (
            self._listening
            and self._network.training
            # Reentrant checkpoints run the network's parts without gradients, in the midst of training.
            and (self._is_running or torch.is_grad_enabled())
            and torch._C._current_graph_task_id() == -1
        )

    def on_heard(self, kind: EventKind, subject: str, value: Any) -> None:
        """A module ran."""
        if not self._is_heard():
            return
        with self._passing[subject]:
            tensor = first_tensor(value)
            if tensor is not None:
                self._speak(kind, subject, tensor)
                self._await_gradient(kind, subject, tensor)
        if kind == "input":
            self._is_running = False

    def on_heard_compiled(self, kind: EventKind, subject: str, value: torch.Tensor) -> None:
        """A module ran in compiled code, where an evaluation without gradients leaves no operator."""
        self._is_compiled = True
        if self._listening and self._network.training:
            with self._passing[subject]:
                self._speak(kind, subject, value)

    def _speak(self, kind: EventKind, subject: str, tensor: torch.Tensor) -> None:
        if kind == "activation":
            self._has_heard = True
            if subject not in self._shapes:
                self._shapes[subject] = tuple(tensor.shape[1:])
        array = lent(tensor)
        self._hear(Event(kind, subject, array.mean() if kind == "loss" and array.ndim else array))

    def _await_gradient(self, kind: EventKind, layer: str, output: Any) -> None:
        if kind == "activation" and "output_gradient" in self._wants and output.requires_grad:
            output.register_hook(partial(self._on_output_gradient, layer))

    def _on_output_gradient(self, layer: str, gradient: torch.Tensor) -> None:
        if self._listening:
            self._hear(Event("output_gradient", layer, lent(gradient)))

    # ------------------------------------------------------------------------ optimiser's step

    def _on_pre_step(self, _optimizer: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self._before_step(self)
        if not self._listening:
            return
        with self._work("capture of the optimiser's step", self.name), torch.no_grad():
            if self._group_sizes != [len(group["params"]) for group in self._optimizer.param_groups]:
                self._find_trained()
            self._hear(Event("weight", self._names, self._weights()))
            if _closure(arguments, named) is None:
                self._on_final_gradients()

    def _on_post_step(self, _optimizer: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        if self._listening:
            with self._work("capture of the optimiser's step", self.name), torch.no_grad():
                if _closure(arguments, named) is not None:
                    self._on_final_gradients()
                self._hear(Event("moved_weight", self._names, self._weights()))
                self._tell_unheard()
        if self._passes is not None:
            self._passes.end_step()
        self._has_heard = False
        self._after_step(self)

    def _weights(self) -> list[torch.Tensor]:
        """The weights as they are lent: the same list, as long as every parameter has its numbers in the same place."""
        parameters = self._trained.values()
        if not all(map(is_plain, parameters)):
            return list(map(lent, parameters))
        places = [(parameter.data_ptr(), parameter.numel()) for parameter in parameters]
        if places != self._places:
            # What is lent holds on to its numbers, so that no others can come to lie in their place; a frozen parameter
            # would not, and may one day ask for a gradient.
            self._lent_weights = [lent(parameter.detach()) for parameter in parameters]
            self._places = places
        return self._lent_weights

    def _on_backward_end(self) -> None:
        if self._clipping is not None and self._clipping.is_awaited:
            with self._work("capture of gradients before clipping", self.name), torch.no_grad():
                self._clipping.keep(self._gradients().values())

    def _gradients(self) -> dict[str, torch.Tensor]:
        found = ((name, parameter.grad) for name, parameter in self._trained.items())
        return {name: lent(gradient) for name, gradient in found if gradient is not None}

    def _on_final_gradients(self) -> None:
        """Gradients are as the optimiser gets them."""
        gradients = self._gradients()
        norms = None if self._clipping is None else self._clipping.norms(len(gradients))
        if norms is not None:
            self._hear(Event("unclipped_gradient", ("",), [norms]))
        arrays = list(gradients.values())
        # A fused optimiser unscales gradients itself, while it moves.
        scale = getattr(self._optimizer, "grad_scale", None)
        if scale is not None:
            arrays = [gradient / scale for gradient in arrays]
        self._hear(Event("gradient", tuple(gradients), arrays))

    # ------------------------------------------------------------------------------- unheard

    def _tell_unheard(self) -> None:
        """Tells, at the first step that is recorded, which layers were not heard; and once if none was."""
        if self._has_heard and not self._told_unheard:
            self._told_unheard = True
            for layer, module in self._modules.items():
                if layer not in self._shapes:
                    self._tell("unseen", layer, self._why_unheard(module))
            if self._is_compiled and "output_gradient" in self._wants:
                self._tell(
                    "unseen", self.name, "gradients of layers' outputs, of which compiled code has none"
                )
        has_run = self._passes is None or self._passes.count > 0
        if has_run and not self._has_heard and not self._told_nothing_heard:
            self._told_nothing_heard = True
            self._tell("unseen", "", self._why_nothing_heard())

    def _why_unheard(self, module: nn.Module) -> str:
        if module in layers.fused_modules(self._encoders):
            return "part of a transformer layer in evaluation mode, left to run as one fused step"
        return "it did not run at the first recorded step, or not through a call of the module, or gave no tensor"

    def _why_nothing_heard(self) -> str:
        if not self._network.training:
            return "no layer was heard: the model is in evaluation mode; call model.train() before a training step"
        return (
            "no layer was heard: the model was compiled and had run before it was watched (watch it before its "
            "first call), or someone removed the hooks, or its layers are not called as modules"
        )

    # ---------------------------------------------------------------------- on a batch of its own

    def make_hvp(self, closure: Closure) -> tuple[Product, int, torch.Tensor]:
        """A Hessian-vector product on flat vectors, its dimension, and an array like the vectors.

        The loss is computed once, in evaluation mode and unheard; gradients, buffers, random state and
        modes stay as they were. Frozen parameters are left out.
        """
        with self._unheard():
            return make_hvp(self._network, self._differentiable(), closure)

    def gradients(self, closure: Closure) -> Sequence[torch.Tensor]:
        """Gradient of a closure's loss by each trained parameter, in evaluation mode."""
        with self._unheard():
            return gradients(self._network, self._differentiable(), closure)

    def overhear(self, closure: Closure, hear: Overhear, *, in_evaluation: bool = True) -> torch.Tensor:
        """Runs a closure without a tape and tells what each layer makes of it; see `diag.capture.contract`."""
        with self._unheard():
            watched = [*self._modules.items(), *([] if self._criterion is None else [("", self._criterion)])]
            return overhear(self._network, watched, closure, hear, in_evaluation=in_evaluation)

    def optimizer_state(self) -> list[OptimizerState]:
        """What the optimiser keeps, by parameter as in `make_hvp`."""
        groups = self._optimizer.param_groups
        of_each = {
            id(p): OptimizerState(self._optimizer.state.get(p, {}), group)
            for group in groups
            for p in group["params"]
        }
        return [of_each[id(parameter)] for parameter in self._differentiable()]

    def _differentiable(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._trained.values() if parameter.requires_grad]

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        was_listening, self.listening = self.listening, False
        try:
            with alone(self.model):
                yield
        finally:
            self.listening = was_listening


def _is_uniform(parameter: torch.Tensor) -> bool:
    return shards_of(parameter) == 1 and not parameter.is_meta and is_uniform(parameter.detach())


def _remove(handles: list[Any]) -> None:
    while handles:
        handles.pop().remove()


def _closure(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """The closure that an optimiser's step was given; the arguments begin with the optimiser."""
    return named.get("closure", arguments[1] if len(arguments) > 1 else None)
