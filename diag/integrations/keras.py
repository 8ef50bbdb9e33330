"""Records what Keras trains on the torch backend."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import keras
import torch
from torch import nn

from diag.integrations.runs import Pair, Runs

# What these do to an activation is known under the names of torch's modules.
KINDS: Mapping[str, str] = {"relu": "ReLU", "relu6": "ReLU6", "sigmoid": "Sigmoid", "tanh": "Tanh"}


class DiagCallback(Runs, keras.callbacks.Callback):
    """Records each `Model.fit` into a folder.

    Layers and parameters are recorded under the names that the model gives them: ``hidden``,
    ``hidden.kernel``. What Keras logs at the end of an epoch (``loss``, ``val_loss``, metrics) is recorded
    under its names at the step that ended last; the loss of each step as ``criterion_loss``. A step is one
    that moves the weights, whatever ``gradient_accumulation_steps`` is; gradients are those that the
    optimiser moves by: averaged, unscaled and clipped, with their norm before that. Evaluations are not
    recorded as training.

    What cannot be seen: the output of a ``Dense(activation="relu")`` before its activation, so that ``hidden``
    and ``hidden.activation`` say the same; the inside of a recurrent layer; frozen parameters;
    compiled steps; a second optimiser, in a ``train_step`` of your own.
    Keras tells a callback of no exception: to have a training that raised closed with its reason, train in
    a ``with`` block; otherwise its log is closed when the next training begins or the interpreter exits.

    Args:
        folder: Where the first fit is written; later ones go to ``folder-2``, ``folder-3``.
        config: Goes into ``run.json``, over the configuration of the optimiser.
        settings: As `diag.Recorder` takes them, such as ``every``.

    Raises:
        RuntimeError: If Keras computes with another backend.
        FileExistsError: When training starts, if the folder holds a log already.
        TypeError: When training starts, if a setting is unknown.
        ValueError: When training starts, if a setting is out of range, the model has nothing to train or
            no optimizer of Keras, or was compiled with ``jit_compile=True``.

    Example:
        >>> def fit(model, x, y):  # doctest: +SKIP
        ...     with DiagCallback("runs/keras", every=10) as callback:
        ...         model.fit(x, y, validation_split=0.1, callbacks=[callback])
    """

    def __init__(
        self, folder: str | Path, *, config: Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        if keras.backend.backend() != "torch":
            raise RuntimeError(
                f"DiagCallback needs Keras on the torch backend, got {keras.backend.backend()!r}; "
                f"set KERAS_BACKEND=torch before keras is imported"
            )
        super().__init__(folder, config=config, **settings)
        self._undo: list[Callable[[], None]] = []

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Opens a run."""
        self._close("left open when the next training began")
        _check(self.model)
        optimizer = _unwrapped(self.model.optimizer)
        shadow = _shadow(self.model)
        network = _network(self.model, shadow)
        step = _step_of(optimizer, [variable.value for variable in self.model.trainable_variables])
        criterion = _Criterion()
        self._open([Pair(network, step, criterion)], {"optimizer": type(optimizer).__name__, **step.defaults})
        self._undo = [
            # Before its layers run, so that it is known whether they run in training.
            self.model.register_forward_pre_hook(lambda _model, inputs: _run(network, inputs)).remove,
            *_hooks(self.model, shadow),
            _hear_steps(optimizer, step),
            _hear_loss(self.model, criterion),
        ]

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Passes on what Keras logs."""
        self._log(logs or {})

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Closes the run."""
        self._close()

    def _close(self, reason: str = "finished") -> None:
        super()._close(reason)
        while self._undo:
            self._undo.pop()()


def _check(model: Any) -> None:
    """Turns away what cannot be heard right."""
    if model.jit_compile:
        raise ValueError(
            "DiagCallback needs a model that is not compiled by torch, which would compile the recording too, "
            "got jit_compile=True; pass jit_compile=False to Model.compile"
        )
    if not isinstance(model.optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            f"DiagCallback needs a model with an optimizer of Keras, got {type(model.optimizer).__name__}; "
            f"pass optimizer= to Model.compile"
        )


# ----------------------------------------------------------------------- what torch's hooks can sit on


class _Shadow(nn.Module):
    """Stands for one Keras layer: holds its parameters, and runs with its output when it does.

    A Keras layer is a torch module, but one that torch knows neither the parts nor the parameters of.
    """

    def forward(self, output: Any) -> Any:
        """The output, for whoever hooks in here."""
        return output


class _Activated(_Shadow):
    """Stands for a layer that ends with an activation, which has a shadow of its own inside."""


class _Criterion(nn.Module):
    """Stands for the loss."""

    def forward(self, prediction: Any, target: Any, loss: Any) -> Any:
        """The loss, with what it was made of."""
        return loss


def _network(model: Any, shadow: _Shadow) -> _Shadow:
    """What the layers of a model are parts of; the model is one itself if it owns parameters."""
    network = _Shadow()
    network._modules.update({model.name: shadow} if shadow._parameters else shadow._modules)
    return network


def _shadow(layer: Any) -> _Shadow:
    """The layer's shadow with those of its parts inside, by Keras's names."""
    activation = _own_activation(layer)
    shadow = _shadow_of_kind(_kind(layer), _Activated if activation else _Shadow)
    parts = _parts(layer)
    known = {id(variable) for part in parts.values() for variable in part.trainable_variables}
    # Not by `add_module` and its like, which refuse names that are attributes, such as `half`.
    shadow._modules.update({name: _shadow(part) for name, part in parts.items()})
    shadow._parameters.update(
        {variable.name: variable.value for variable in layer.trainable_variables if id(variable) not in known}
    )
    if activation:
        shadow._modules["activation"] = _shadow_of_kind(activation)
    return shadow


def _shadow_of_kind(kind: str, shadow: type[_Shadow] = _Shadow) -> _Shadow:
    """A shadow whose class bears the name by which the layer's kind is recorded."""
    return type(kind, (shadow,), {})()


def _kind(layer: Any) -> str:
    """The layer's class; of an `Activation` what it does."""
    known = isinstance(layer, keras.layers.Activation) and _activation(layer)
    return known or type(layer).__name__


def _own_activation(layer: Any) -> str:
    """The kind of the activation that ends a layer; only of Keras's own layers does one know that it does."""
    is_one = isinstance(layer, keras.layers.Activation | keras.layers.RNN)
    return "" if is_one or not type(layer).__module__.startswith("keras.") else _activation(layer)


def _activation(layer: Any) -> str:
    return KINDS.get(getattr(getattr(layer, "activation", None), "__name__", ""), "")


def _parts(layer: Any) -> dict[str, Any]:
    """Layers inside a layer, by name; a recurrent one is whole, for its cell runs once for each time step."""
    parts: dict[str, Any] = {}
    if isinstance(layer, keras.layers.RNN):
        return parts
    for part in layer._flatten_layers(include_self=False, recursive=False):
        if not isinstance(part, keras.layers.InputLayer):
            name = part.name.replace(".", "_")
            # Two parts of a model that is a class may bear one name.
            parts[f"{name}_{len(parts)}" if name in parts else name] = part
    return parts


def _hooks(layer: Any, shadow: Any) -> Iterator[Callable[[], None]]:
    """Lets each shadow run when its layer has; yields what undoes it."""
    yield layer.register_forward_hook(lambda _layer, _inputs, output: _run(shadow, output)).remove
    for name, part in _parts(layer).items():
        yield from _hooks(part, shadow._modules[name])


def _run(shadow: Any, value: Any) -> None:
    """Lets hear a value, and again as an activation's; gives nothing back that would replace it."""
    shadow(value)
    if isinstance(shadow, _Activated):
        shadow.get_submodule("activation")(value)


# ------------------------------------------------------------------------------- steps and the loss


class _Step(torch.optim.Optimizer):
    """Stands for a Keras optimiser, so that its steps run torch's hooks.

    Attributes:
        on_whole_gradients: Whoever listens wants it called when gradients are whole and not yet clipped.
    """

    on_whole_gradients: Callable[[], None] = staticmethod(lambda: None)

    def step(self, closure: Callable[[], Any]) -> None:  # type: ignore[override]
        """Lets Keras move the parameters; as with a closure, gradients are known only afterwards."""
        closure()


def _unwrapped(optimizer: Any) -> Any:
    """The optimiser that moves the parameters, inside one that scales the loss."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def _step_of(optimizer: Any, parameters: list[nn.Parameter]) -> _Step:
    # Not by `get_config`, which asks the variable of the learning rate in a way that NumPy deprecates.
    numbers = {key: value for key, value in vars(optimizer).items() if isinstance(value, int | float)}
    settings = {key: value for key, value in numbers.items() if not key.startswith("_")}
    kind = type(type(optimizer).__name__, (_Step,), {})
    return kind(parameters, {**settings, "lr": _learning_rate(optimizer)})


def _learning_rate(optimizer: Any) -> float:
    return float(keras.ops.convert_to_tensor(optimizer.learning_rate))


def _hear_steps(optimizer: Any, step: _Step) -> Callable[[], None]:
    """Lets a step run whenever Keras moves the weights; gives what undoes it.

    Keras accumulates, unscales and averages gradients inside of `apply`, and clips them in a private method
    that all its optimisers share; there alone both gradients are to be had.
    """
    apply, clip = optimizer.apply, optimizer._clip_gradients
    moved: list[nn.Parameter] = []

    def hear_apply(gradients: Any, trainable_variables: Any = None) -> None:
        variables = None if trainable_variables is None else list(trainable_variables)
        every = optimizer.gradient_accumulation_steps
        # The public count is one of steps.
        if every and (int(optimizer._iterations) + 1) % every:
            apply(gradients, variables)
            return
        step.param_groups[0]["lr"] = _learning_rate(optimizer)
        parameters = step.param_groups[0]["params"] if variables is None else [v.value for v in variables]
        moved[:] = [p for gradient, p in zip(gradients, parameters, strict=False) if gradient is not None]
        with _gradients_restored(moved):
            step.step(lambda: apply(gradients, variables))

    def hear_clip(gradients: Any) -> Any:
        _show(gradients, moved)
        step.on_whole_gradients()
        clipped = clip(gradients)
        _show(clipped, moved)
        return clipped

    optimizer.apply, optimizer._clip_gradients = hear_apply, hear_clip

    def undo() -> None:
        del optimizer.apply, optimizer._clip_gradients

    return undo


def _show(gradients: Any, parameters: list[nn.Parameter]) -> None:
    """Puts gradients where torch has them."""
    if len(gradients) == len(parameters):
        for gradient, parameter in zip(gradients, parameters, strict=True):
            # One of another type than its parameter cannot be shown.
            with suppress(RuntimeError, TypeError):
                parameter.grad = gradient


@contextmanager
def _gradients_restored(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Gradients are afterwards what they were: those of the last batch, as Keras left them."""
    kept = [(parameter, parameter.grad) for parameter in parameters]
    try:
        yield
    finally:
        for parameter, gradient in kept:
            parameter.grad = gradient


def _hear_loss(model: Any, criterion: _Criterion) -> Callable[[], None]:
    """Lets the criterion run whenever Keras has computed the loss; gives what undoes it."""
    compute = model.compute_loss

    def compute_loss(x: Any = None, y: Any = None, y_pred: Any = None, *rest: Any, **named: Any) -> Any:
        loss = compute(x, y, y_pred, *rest, **named)
        criterion(y_pred, y, loss)
        return loss

    model.compute_loss = compute_loss

    def undo() -> None:
        del model.compute_loss

    return undo
