"""Faults put into real trainings and their healthy twins: the fault is named first, the twin is left alone."""

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn, optim
from tests.diag.diagnosis.conftest import mlp

DIGITS = sn.data.load_digits(rng=0)
X, Y = DIGITS.x_train, DIGITS.y_train
IS_LARGE = (Y >= 5).astype(np.float32)[:, None]
RNG = np.random.default_rng(0)
WAVE_X = RNG.normal(size=(400, 4)).astype(np.float32)
WAVE_Y = np.sin(WAVE_X[:, :1] * 1.5) + 0.5 * WAVE_X[:, 1:2]
WAVE_Y = (WAVE_Y - WAVE_Y.mean()) / WAVE_Y.std()
RARE_X = RNG.normal(size=(1200, 2)).astype(np.float32)
RARE_Y = (RNG.random((1200, 1)) < 0.04).astype(np.float32)
RULED_Y = (RARE_X[:, :1] > 1.75).astype(np.float32)
CE = nn.CrossEntropyLoss


def digits(trained, x=X, y=Y, criterion=None, sizes=(64, 48, 48, 10), make=None, settings=None, **network):
    model = mlp(sizes, **network)
    optimizer = make(model.parameters()) if make else None
    return trained(model, x, y, criterion or CE(), optimizer, **(settings or {}))


def wave(trained, x=WAVE_X, y=WAVE_Y, sizes=(4, 32, 1), make=None, settings=None, **network):
    model = mlp(sizes, nonlinearity=nn.Tanh, **network)
    optimizer = (make or sgd(0.01))(model.parameters())
    return trained(model, x, y, nn.MSELoss(), optimizer, **(settings or {}))


def binary(trained, criterion, y=IS_LARGE, x=X, end=None, settings=None):
    return trained(mlp((x.shape[1], 24, 1), end=end), x, y, criterion, **(settings or {}))


def drawn(scale):
    return lambda rng, shape: rng.normal(0, scale, shape)


def adam(rate, **settings):
    return lambda parameters: optim.Adam(parameters, lr=rate, **settings)


def frozen_but_the_head(parameters):
    *others, weight, bias = parameters
    for parameter in others:
        parameter.requires_grad = False
    return optim.SGD([weight, bias], lr=0.05)


def sgd(rate, **settings):
    return lambda parameters: optim.SGD(parameters, lr=rate, **{"momentum": 0.9, **settings})


FAULTS = {
    "missing_zero_grad": lambda t: digits(t, make=sgd(0.02), settings={"zero": False}),
    "wrong_update_direction": lambda t: digits(t, settings={"sign": -1, "steps": 60}),
    "wrong_update_direction-adam": lambda t: digits(t, make=adam(2e-3), settings={"sign": -1}),
    "wrong_update_direction-told": lambda t: digits(t, make=sgd(0.05, maximize=True), settings={"steps": 60}),
    "symmetric_initialization-zero": lambda t: digits(t, draw=lambda _, shape: np.zeros(shape)),
    "symmetric_initialization-constant": lambda t: digits(t, draw=lambda _, shape: np.full(shape, 0.1)),
    "bad_initialization-small": lambda t: digits(t, draw=drawn(1e-3)),
    "bad_initialization-large": lambda t: digits(t, draw=drawn(2.0)),
    "unscaled_input-large": lambda t: digits(t, x=X * 1000, settings={"steps": 60}),
    "unscaled_input-small": lambda t: digits(t, x=X / 1000),
    "constant_input": lambda t: digits(t, x=np.full_like(X, 0.5)),
    "unscaled_target": lambda t: wave(t, y=WAVE_Y * 300 + 1000, make=adam(1e-3)),
    "head_loss_mismatch-range": lambda t: wave(t, end=nn.Sigmoid()),
    "head_loss_mismatch-probabilities": lambda t: digits(t, criterion=nn.NLLLoss(), end=nn.Softmax(dim=1)),
    "head_loss_mismatch-scores": lambda t: digits(t, criterion=nn.NLLLoss(), settings={"steps": 60}),
    "head_loss_mismatch-one-unit": lambda t: binary(t, nn.BCELoss(), end=nn.Softmax(dim=1)),
    "redundant_softmax": lambda t: digits(t, end=nn.Softmax(dim=1)),
    "redundant_softmax-sigmoid": lambda t: binary(
        t, nn.BCEWithLogitsLoss(), end=nn.Sigmoid(), settings={"steps": 300}
    ),
    "class_imbalance": lambda t: binary(t, nn.BCEWithLogitsLoss(), RARE_Y, RARE_X),
    "frozen_parameters-forgotten": lambda t: digits(
        t, make=lambda parameters: optim.SGD(list(parameters)[-2:], lr=0.05)
    ),
    "over_regularized": lambda t: digits(t, make=sgd(0.05, weight_decay=1.0)),
    "epsilon_dominates": lambda t: digits(t, make=adam(2e-3, eps=10.0)),
}
HEALTHY = {
    "classes": lambda t: digits(t),
    "classes-adam": lambda t: digits(t, make=adam(2e-3)),
    "classes-decay": lambda t: digits(t, make=sgd(0.05, weight_decay=1e-3)),
    "classes-lion": lambda t: digits(t, make=lambda parameters: optim.Lion(parameters, lr=3e-4)),
    "classes-full-batch": lambda t: digits(
        t, make=sgd(0.3, momentum=0.0), settings={"batch": 2000, "steps": 80}
    ),
    "classes-small-batch": lambda t: digits(t, make=sgd(0.005), settings={"batch": 4, "steps": 400}),
    "classes-tanh": lambda t: digits(t, nonlinearity=nn.Tanh),
    "log-probabilities": lambda t: digits(t, criterion=nn.NLLLoss(), end=nn.LogSoftmax(dim=1)),
    "scores-of-two": lambda t: binary(t, nn.BCEWithLogitsLoss(), settings={"steps": 300}),
    "probabilities-of-two": lambda t: binary(t, nn.BCELoss(), end=nn.Sigmoid(), settings={"steps": 300}),
    "rare-but-told": lambda t: binary(t, nn.BCEWithLogitsLoss(), RULED_Y, RARE_X, settings={"steps": 300}),
    "regression": lambda t: wave(t),
    "fine-tuning": lambda t: digits(t, make=frozen_but_the_head),
}


# A network that is driven up the loss ends in numbers too large to hold.
@pytest.mark.filterwarnings("ignore:backward needs a finite loss")
@pytest.mark.parametrize("case", FAULTS)
def test_the_first_finding_names_the_fault(trained, case):
    diagnosis = FAULTS[case](trained)
    first = diagnosis.findings[0]
    assert first.rule == case.split("-")[0]
    assert first.severity in ("warning", "fault")
    assert first.caused_by is None
    assert first.onset_step in (0, 1)


@pytest.mark.parametrize("case", HEALTHY)
def test_the_healthy_twin_is_left_alone(trained, case):
    diagnosis = HEALTHY[case](trained)
    assert [f.rule for f in diagnosis.findings if f.severity != "note"] == []


def test_what_follows_from_the_first_fault_says_so(trained):
    diagnosis = digits(trained, make=sgd(0.05, weight_decay=1.0))
    causes = {finding.rule: finding.caused_by for finding in diagnosis.findings}
    assert causes["vanishing_gradients"] == "over_regularized"


def test_a_few_noisy_points_learned_by_heart_are_overfitting(trained):
    noisy = (WAVE_Y[:24] + np.random.default_rng(0).normal(0, 1.5, (24, 1))).astype(np.float32)
    settings = {"validation": (WAVE_X[24:], WAVE_Y[24:]), "steps": 500}
    diagnosis = wave(trained, WAVE_X[:24], noisy, (4, 128, 128, 1), make=adam(3e-3), settings=settings)
    found = {finding.rule: finding for finding in diagnosis.findings}
    overfitting = found["overfitting"]
    assert (overfitting.severity, overfitting.caused_by) == ("fault", "repeated_batches")
    assert 0 < overfitting.onset_step < 300
    assert found["repeated_batches"].severity == "warning"


def test_labels_that_belong_to_other_examples_are_told(trained):
    shuffled = np.random.default_rng(0).permutation(Y[:300])
    settings = {"validation": (DIGITS.x_test, DIGITS.y_test), "steps": 400}
    diagnosis = digits(
        trained, X[:300], shuffled, sizes=(64, 128, 128, 10), make=adam(2e-3), settings=settings
    )
    assert diagnosis.findings[0].rule == "label_corruption"
    overfitting = [finding for finding in diagnosis.findings if finding.rule == "overfitting"]
    assert all(finding.caused_by == "label_corruption" for finding in overfitting)
