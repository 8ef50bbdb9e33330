"""Faults that only a look at a probe batch, or at the modes, shows, put into real trainings; and healthy ones."""

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn, optim
from tests.diag.diagnosis.conftest import mlp

DIGITS = sn.data.load_digits(rng=0)
X, Y = DIGITS.x_train, DIGITS.y_train
FEW = np.isin(Y, (0, 1, 2))
RNG = np.random.default_rng(0)
LINEAR_X = RNG.normal(size=(1200, 4)).astype(np.float32)
LINEAR_Y = LINEAR_X @ np.array([[1.0], [-1.0], [0.5], [0.0]], np.float32)


class Transformer(nn.Module):
    """Of images, row by row."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.embed = nn.Linear(8, 16, rng=0)
        layers = [
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, rng=i) for i in range(2)
        ]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(16, 10, rng=5)
        for layer in layers:
            projection = layer.self_attn.in_proj_weight
            assert projection is not None
            projection.array[:32] *= scale

    def forward(self, x):
        return self.head(self.layers(self.embed(np.reshape(x, (-1, 8, 8)))).mean(axis=1))


def normalised(momentum=0.1, dropout=0.0):
    rng = np.random.default_rng(0)
    return nn.Sequential(
        nn.BatchNorm1d(64, momentum=momentum),
        nn.Linear(64, 48, rng=rng),
        nn.BatchNorm1d(48, momentum=momentum),
        nn.ReLU(),
        nn.Dropout(dropout, rng=rng),
        nn.Linear(48, 10, rng=rng),
    )


def near_identity():
    model = mlp((64, *[32] * 6, 10))
    for layer in list(model)[2:-1:2]:
        layer.weight.array[...] = np.eye(32) + np.random.default_rng(1).normal(0, 0.01, (32, 32))
    return model


def digits(trained, model, *, x=X, y=Y, lr=0.05, adam=False, criterion=None, **settings):
    parameters = model.parameters()
    optimizer = optim.Adam(parameters, lr=lr) if adam else optim.SGD(parameters, lr=lr, momentum=0.9)
    settings = {"steps": 240, "every": 4, "looks": 40, "batch": 64, **settings}
    return trained(model, x, y, criterion or nn.CrossEntropyLoss(), optimizer, **settings)


def switched(model):
    """Turns to evaluation before step 100, as an evaluation does that is not followed by train()."""
    return lambda step: model.eval() if step == 100 else None


def evaluated_for_good(trained):
    model = normalised(dropout=0.2)
    return digits(trained, model, before_step=switched(model))


def named(diagnosis, rule):
    return next(finding for finding in diagnosis.findings if finding.rule == rule)


def validated(trained, **settings):
    """With a validation after every twentieth step."""
    model = normalised(dropout=0.2)
    return digits(trained, model, every=1, validation=(DIGITS.x_test, DIGITS.y_test), steps=160, **settings)


FAULTS = {
    "train_eval_mode-validation": (lambda t: validated(t, forgets_eval=True), "0", 0),
    "train_eval_mode-forgotten": (evaluated_for_good, "0", 100),
    "train_eval_mode-statistics": (lambda t: digits(t, normalised(momentum=0.0), x=X + 5), "0", 40),
    "sum_reduction": (lambda t: digits(t, mlp(), criterion=nn.CrossEntropyLoss(reduction="sum")), None, 0),
    "noisy_gradients": (
        lambda t: digits(t, mlp(), y=np.random.default_rng(0).permutation(Y), batch=4, lr=0.01),
        None,
        80,
    ),
}
HEALTHY = {
    "validated": lambda t: validated(t),
    "classes": lambda t: digits(t, mlp()),
    "adam": lambda t: digits(t, mlp(), lr=2e-3, adam=True),
    "normalised_with_dropout": lambda t: digits(t, normalised(dropout=0.3)),
    "transformer": lambda t: digits(t, Transformer(), lr=3e-3, adam=True),
    "small_batch": lambda t: digits(t, mlp(), lr=0.005, batch=8, steps=400),
    "large_batch": lambda t: digits(t, mlp(), lr=0.2, batch=1200),
    "deep": lambda t: digits(t, mlp((64, *[48] * 8, 10)), lr=0.02),
    "sum_with_a_rate_to_match": lambda t: digits(
        t, mlp(), lr=0.05 / 64, criterion=nn.CrossEntropyLoss(reduction="sum")
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_the_first_finding_names_the_fault_its_layer_and_its_onset(trained, case):
    train, layer, onset = FAULTS[case]
    first = train(trained).findings[0]
    assert first.rule == case.split("-")[0]
    assert first.severity in ("warning", "fault")
    assert (first.layer, first.onset_step, first.caused_by) == (layer, onset, None)


def test_attention_that_collapses_under_weights_that_start_far_too_large(trained):
    finding = named(digits(trained, Transformer(30.0), lr=0.5), "attention_collapse")
    assert finding.severity in ("warning", "fault")
    assert (finding.layer, finding.onset_step) == ("layers.0.self_attn", 0)
    assert finding.caused_by == "bad_initialization"


@pytest.mark.parametrize("case", HEALTHY)
def test_the_healthy_are_left_alone(trained, case):
    diagnosis = HEALTHY[case](trained)
    assert [f.rule for f in diagnosis.findings if f.severity != "note"] == []


def test_a_rank_that_collapses_under_steps_that_are_too_long_says_what_brought_it_about(trained):
    diagnosis = digits(trained, mlp(), batch=2, lr=0.2)
    finding = named(diagnosis, "rank_collapse")
    assert (finding.severity, finding.caused_by) == ("fault", "learning_rate_too_high")
    assert finding.onset_step == 40


def test_units_that_are_made_faint_in_the_midst_of_a_training_are_dormant(trained):
    model = mlp()

    def weaken(step):
        if step >= 80:
            model[2].weight.array[:30] *= 1e-3
            model[2].bias.array[:30] *= 1e-3

    finding = named(digits(trained, model, before_step=weaken, lr=0.002), "dormant_units")
    assert (finding.layer, finding.onset_step, finding.severity) == ("3", 80, "note")
    assert finding.evidence.value == pytest.approx(30 / 48, abs=0.05)


def test_layers_that_pass_on_what_they_get_are_redundant(trained):
    finding = named(digits(trained, near_identity(), lr=0.01), "redundant_depth")
    assert (finding.layer, finding.onset_step, finding.severity) == ("4", 0, "note")


def test_three_classes_trained_on_and_on_collapse_as_they_should(trained):
    model = mlp((64, 64, 64, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-3)
    settings = {"steps": 600, "every": 10, "looks": 60}
    diagnosis = trained(model, X[FEW], Y[FEW], nn.CrossEntropyLoss(), optimizer, **settings)
    assert "neural_collapse" in {finding.rule for finding in diagnosis.findings}
    assert diagnosis.status == "healthy"


def test_a_thousand_examples_of_a_line_say_what_a_few_would(trained):
    model = nn.Sequential(nn.Linear(4, 1, rng=0))
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    settings = {"steps": 120, "every": 4, "looks": 12, "batch": 1200}
    diagnosis = trained(model, LINEAR_X, LINEAR_Y, nn.MSELoss(), optimizer, **settings)
    finding = named(diagnosis, "wasteful_batch")
    assert (finding.severity, diagnosis.status) == ("note", "healthy")
    assert finding.evidence.value > 10
