"""From a framework's hooks to events: picks the capture that fits the model, importing only that one."""

from importlib import import_module
from typing import Any

from diag.capture.contract import Capture
from diag.capture.trial import Trial

__all__ = ["Capture", "Trial", "open_capture", "open_trial"]

# The frameworks, with what a model is derived from.
FRAMEWORKS = {"scratchnet": "scratchnet.nn.Module", "torch": "torch.nn.Module"}
TRIALS = {"scratchnet": "diag.capture.scratchnet_trial", "torch": "diag.capture.torch.trial"}


def open_capture(model: Any, optimizer: Any, criterion: Any, **listeners: Any) -> Capture:
    """Attaches the capture for the model's framework.

    Args:
        model: A module of a supported framework.
        optimizer: An optimiser of the same framework, which moves parameters of the model.
        criterion: A loss module, or None.
        listeners: As `diag.capture.contract` describes them.

    Raises:
        TypeError: If one of the three is not of a supported framework, or not of the model's.
        ValueError: If the model has no layers, or is spread over devices, or the optimiser moves none of its
            parameters.
    """
    framework = _framework(model)
    if framework is None or not hasattr(model, "named_modules"):
        raise TypeError(
            f"watch needs a model of {' or '.join(FRAMEWORKS)}, got {_full_name(model)}; "
            f"derive it from {' or '.join(FRAMEWORKS.values())}"
        )
    companions = {"an optimizer": optimizer} | ({} if criterion is None else {"a criterion": criterion})
    for role, thing in companions.items():
        if _framework(thing) != framework:
            raise TypeError(f"watch needs {role} of {framework}, as the model is, got {_full_name(thing)}")
    if not any(True for _ in model.parameters()):
        raise ValueError(
            f"watch needs a model with layers to train, got {_full_name(model)} without parameters"
        )
    moved = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in moved for parameter in model.parameters()):
        raise ValueError(
            "watch needs an optimizer that moves the model's parameters, got one that holds none of them; "
            "build it from model.parameters(), after the model was replaced or copied"
        )
    return import_module(f"diag.capture.{framework}").Capture(model, optimizer, criterion, **listeners)


def open_trial(model: Any, criterion: Any, optimizer: Any = None) -> Trial:
    """Puts a model under experiment, with the trial for its framework.

    Args:
        model: A module of a supported framework.
        criterion: Computes the loss from the model's output and the targets.
        optimizer: An optimiser of the same framework, or None.

    Raises:
        TypeError: If the model is not of a supported framework, the optimiser not of the model's, or the
            criterion cannot be called.
        ValueError: If there is no parameter to train.
    """
    framework = _framework(model)
    if framework is None or not hasattr(model, "named_modules"):
        raise TypeError(f"verify needs a model of {' or '.join(FRAMEWORKS)}, got {_full_name(model)}")
    if not callable(criterion):
        raise TypeError(
            f"verify needs a criterion that computes the loss from output and targets, got {_full_name(criterion)}"
        )
    if optimizer is not None and _framework(optimizer) != framework:
        raise TypeError(
            f"verify needs an optimizer of {framework}, as the model is, got {_full_name(optimizer)}"
        )
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    if optimizer is not None:
        trained &= {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not trained:
        raise ValueError(
            "verify needs a parameter that is trained, got none that requires a gradient"
            + (" and is among the optimizer's" if optimizer is not None else "")
        )
    return import_module(TRIALS[framework]).Trial(model, criterion, optimizer)


def _framework(thing: Any) -> str | None:
    """By the home of its classes, so that no framework is imported to find out."""
    homes = {kind.__module__.partition(".")[0] for kind in type(thing).__mro__}
    return next((framework for framework in FRAMEWORKS if framework in homes), None)


def _full_name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
