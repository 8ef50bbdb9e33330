"""What optimisers refuse, and in which words."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn, optim
from tests.scratchnet.optimizers.every import give, parameter

P, Q = parameter(1.0), nn.Parameter(np.ones(1, np.float32))
ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a negative learning rate": (
        lambda: optim.SGD([P], lr=-0.1),
        ValueError,
        r"SGD needs lr >= 0, got lr=-0\.1",
    ),
    "a learning rate that is no number": (
        lambda: optim.Adam([P], lr=float("nan")),
        ValueError,
        "Adam needs lr",
    ),
    "a negative momentum": (lambda: optim.SGD([P], momentum=-1.0), ValueError, "SGD needs momentum >= 0"),
    "a negative decay": (
        lambda: optim.AdamW([P], weight_decay=-1.0),
        ValueError,
        "AdamW needs weight_decay >=",
    ),
    "a negative epsilon": (lambda: optim.Adam([P], eps=-1e-8), ValueError, "Adam needs eps >= 0"),
    "a beta of one": (
        lambda: optim.Adam([P], betas=(0.9, 1.0)),
        ValueError,
        r"Adam needs both betas in \[0, 1\), got \(0\.9, 1\.0\)",
    ),
    "Nesterov without momentum": (
        lambda: optim.SGD([P], nesterov=True),
        ValueError,
        r"needs momentum > 0 and no dampening, got momentum=0\.0",
    ),
    "Nesterov with dampening": (
        lambda: optim.SGD([P], momentum=0.9, dampening=0.1, nesterov=True),
        ValueError,
        r"dampening=0\.1",
    ),
    "no parameter": (
        lambda: optim.SGD([]),
        ValueError,
        r"SGD needs at least one parameter, got none; pass model\.parameters\(\)",
    ),
    "no parameter in any group": (lambda: optim.SGD([{"params": []}]), ValueError, "at least one parameter"),
    "a negative learning rate in a group": (
        lambda: optim.SGD([{"params": [P], "lr": -0.1}], lr=0.1),
        ValueError,
        r"SGD needs lr >= 0, got lr=-0\.1",
    ),
    "an unknown hyperparameter in a group": (
        lambda: optim.Lion([{"params": [P], "momentum": 0.9}]),
        ValueError,
        r"got \['momentum'\]; it knows \['betas', 'lr', 'maximize', 'weight_decay'\]",
    ),
    "a parameter instead of a list": (
        lambda: optim.SGD(P),
        TypeError,
        r"SGD needs a list of parameters, got one Parameter; write \[parameter\]",
    ),
    "a set of parameters": (
        lambda: optim.SGD([{"params": {P}}]),
        TypeError,
        "needs its parameters in an order, got a set",
    ),
    "one parameter twice in a group": (
        lambda: optim.SGD([P, P]),
        ValueError,
        "SGD needs each parameter once, got one twice",
    ),
    "one parameter again in a later group": (
        lambda: optim.SGD([P]).add_param_group({"params": [P]}),
        ValueError,
        "got one twice",
    ),
    "three betas": (
        lambda: optim.Lion([P], betas=(0.9, 0.9, 0.9)),  # type: ignore[arg-type]
        ValueError,
        "Lion needs both betas",
    ),
    "an alpha of one": (
        lambda: optim.RMSprop([P], alpha=1.0),
        ValueError,
        r"alpha in \[0, 1\), got alpha=1\.0",
    ),
    "a rho above one": (lambda: optim.Adadelta([P], rho=1.5), ValueError, r"Adadelta needs rho in \[0, 1\)"),
    "a negative decay of the rate": (
        lambda: optim.Adagrad([P], lr_decay=-1.0),
        ValueError,
        "Adagrad needs lr_decay >= 0",
    ),
    "a negative decay of the momentum": (
        lambda: optim.NAdam([P], momentum_decay=-1.0),
        ValueError,
        "NAdam needs momentum_decay >= 0",
    ),
    "a vector for Muon": (
        lambda: optim.Muon([P]),
        ValueError,
        r"Muon needs matrices, got a parameter of shape \(1,\); put all that is no matrix into another",
    ),
    "an unknown adjustment for Muon": (
        lambda: optim.Muon([nn.Parameter(np.ones((2, 2)))], adjust_lr_fn="best"),
        ValueError,
        "adjust_lr_fn in .*got 'best'",
    ),
    "two coefficients for Muon": (
        lambda: optim.Muon([nn.Parameter(np.ones((2, 2)))], ns_coefficients=(1.0, 2.0)),  # type: ignore[arg-type]
        ValueError,
        "three ns_coefficients",
    ),
    "no epsilon for Shampoo": (lambda: optim.Shampoo([P], eps=0.0), ValueError, "Shampoo needs eps > 0"),
    "an interval of nothing": (
        lambda: optim.Shampoo([P], update_interval=0),
        ValueError,
        "Shampoo needs update_interval >= 1, got update_interval=0",
    ),
    "two groups for L-BFGS": (
        lambda: optim.LBFGS([{"params": [P]}, {"params": [parameter(1.0)]}]),
        ValueError,
        "LBFGS needs all parameters in one group",
    ),
    "an unknown line search": (
        lambda: optim.LBFGS([P], line_search_fn="armijo"),
        ValueError,
        "line_search_fn None or 'strong_wolfe', got 'armijo'",
    ),
    "L-BFGS without a closure": (
        lambda: optim.LBFGS([parameter(1.0)]).step(),
        TypeError,
        r"LBFGS needs a closure.* call step\(closure\)",
    ),
    "SAM without a closure": (
        lambda: optim.SAM(optim.SGD([parameter(1.0)])).step(),
        TypeError,
        "SAM needs a closure",
    ),
    "SAM around parameters": (
        lambda: optim.SAM([P]),  # type: ignore[arg-type]
        TypeError,
        r"SAM needs an optimiser that moves once a step, got list; write SAM\(optim\.SGD",
    ),
    "SAM around L-BFGS": (lambda: optim.SAM(optim.LBFGS([parameter(1.0)])), TypeError, "got LBFGS"),
    "a negative radius": (lambda: optim.SAM(optim.SGD([parameter(1.0)]), rho=-1.0), ValueError, "rho >= 0"),
    "a group without parameters": (
        lambda: optim.SGD([{"lr": 0.1}]),
        ValueError,
        r"\"params\" in every group, got only \['lr'\]",
    ),
    "one parameter twice": (
        lambda: optim.SGD([{"params": [P]}, {"params": [P]}]),
        ValueError,
        "SGD needs each parameter once, got one twice; check the groups",
    ),
    "a tensor": (
        lambda: optim.SGD([sn.Tensor([1.0])]),
        TypeError,
        r"SGD needs parameters, got Tensor; pass model\.parameters\(\)",
    ),
    "names with parameters": (lambda: optim.SGD([("weight", P)]), TypeError, "got tuple"),
    "two dtypes in a group": (
        lambda: optim.SGD([P, Q]),
        TypeError,
        r"SGD needs one dtype in a group, got \['float32', 'float64'\]; split the group",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_be_optimised_is_refused(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_parameter_that_changes_its_shape_is_refused() -> None:
    p = parameter(1.0, 2.0)
    optimizer = optim.SGD([p])
    p.array = np.ones(3)
    p.grad = sn.Tensor(np.ones(3))
    with pytest.raises(
        ValueError, match=r"SGD needs parameters of the shapes .* got \(3,\) in place of \(2,\)"
    ):
        optimizer.step()


def test_a_gradient_of_another_shape_is_refused() -> None:
    p = parameter(1.0, 2.0)
    optimizer = optim.SGD([p])
    p.grad = sn.Tensor(np.ones(1))
    with pytest.raises(
        ValueError, match=r"SGD needs gradients of the shapes .* got \(1,\) in place of \(2,\)"
    ):
        optimizer.step()


def test_an_optimiser_without_a_rule_of_its_own_is_refused_at_its_first_step() -> None:
    optimizer = optim.Optimizer([parameter(1.0)], {})
    p = optimizer.param_groups[0]["params"][0]
    give(p, 1.0)
    with pytest.raises(TypeError, match="Optimizer needs an update method"):
        optimizer.step()
