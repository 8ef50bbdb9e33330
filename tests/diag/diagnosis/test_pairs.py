"""Pairs that are watched under names: each is judged, under its own name."""

import numpy as np
import pytest

import diag
from diag.diagnosis.pairs import pairs_of
from diag.events import Layer, Model, Optimizer, Parameter
from scratchnet import nn, optim
from tests.diag.diagnosis.conftest import falling, mlp


def model_of(*names):
    layers, parameters = [], []
    for name in names:
        prefix = f"{name}." if name else ""
        layers.append(Layer(f"{prefix}0", "Tanh", (8,), (f"{prefix}0.weight",)))
        layers.append(Layer(f"{prefix}1", "Linear", (8,)))
        parameters.append(Parameter(f"{prefix}0.weight", f"{prefix}0", (8, 8)))
    optimizers = tuple(Optimizer(name, "SGD", {}) for name in names)
    return Model(tuple(layers), tuple(parameters), optimizers)


@pytest.fixture
def pair(log_of):
    """Two pairs: one learns, the other does not and is saturated from step 30 on."""
    rate = np.where(np.arange(60) < 30, 0.1, 0.9)
    return log_of(
        {
            "good.criterion_loss": falling(),
            "bad.criterion_loss": np.full(60, 2.3),
            "saturation_rate": {"good.0": np.full(60, 0.1), "bad.0": rate},
        },
        model=model_of("good", "bad"),
    )


def test_the_pair_that_is_ill_is_told_and_the_other_is_not(pair):
    diagnosis = diag.diagnose(pair)
    first = diagnosis.findings[0]
    assert (first.rule, first.layer, first.onset_step) == ("saturated_units", "bad.0", 30)
    assert first.evidence.series == "saturation_rate"
    serious = [finding for finding in diagnosis.findings if finding.severity != "note"]
    assert [finding.rule for finding in serious] == ["saturated_units"]


def test_a_finding_about_a_whole_network_says_which(pair):
    slow = next(finding for finding in diag.diagnose(pair).findings if finding.rule == "slow_convergence")
    assert slow.evidence.series == "bad.criterion_loss"
    assert slow.evidence.text.startswith("In 'bad': ")
    # Of two that train against each other one must lose.
    assert slow.severity == "note"


def test_what_one_pair_lacks_is_told_under_its_name(log_of):
    log = log_of({"a.criterion_loss": falling()}, model=model_of("a", "b"))
    not_assessed = diag.diagnose(log).not_assessed
    assert "b.slow_convergence" in not_assessed
    assert "a.slow_convergence" not in not_assessed


def test_a_pair_sees_its_own_layers_and_series_only(log_of):
    rates = {"0": np.zeros(60), "g.0": np.ones(60)}
    series = {
        "learning_rate": np.full(60, 0.1),
        "g.learning_rate": np.full(60, 0.2),
        "saturation_rate": rates,
    }
    log = log_of(series, model=model_of("", "g"), scalars={3: {"val_loss": 1.0, "g.val_loss": 2.0}})
    plain, named = pairs_of(log)
    assert plain.series("saturation_rate").columns == ("0", "1")
    assert named.series("saturation_rate").columns == ("g.0", "g.1")
    assert [pair.series("learning_rate").values[0, 0] for pair in (plain, named)] == [0.1, 0.2]
    assert [pair.series("val_loss").values[0, 0] for pair in (plain, named)] == [1.0, 2.0]
    assert "g.learning_rate" not in plain
    assert [layer.name for layer in named.model.layers] == ["g.0", "g.1"]


def test_the_only_pair_sees_what_the_user_logged_without_its_name(log_of):
    (only,) = pairs_of(
        log_of({"g.learning_rate": np.ones(60)}, model=model_of("g"), scalars={3: {"val_loss": 1.0}})
    )
    assert "val_loss" in only
    assert "learning_rate" in only


@pytest.mark.parametrize("seed", range(2))
def test_a_generator_and_a_critic_that_train_against_each_other_are_healthy(tmp_path, seed):
    rng = np.random.default_rng(seed)
    generator, critic = mlp((4, 32, 2), seed=seed), mlp((2, 32, 1), seed=seed + 10)
    moves = {
        model: optim.Adam(model.parameters(), lr=2e-3, betas=(0.5, 0.999)) for model in (critic, generator)
    }
    judges = {model: nn.BCEWithLogitsLoss() for model in (critic, generator)}
    with diag.Recorder(tmp_path / "run", every=1) as recorder:
        recorder.watch(critic, moves[critic], criterion=judges[critic], name="critic")
        recorder.watch(generator, moves[generator], criterion=judges[generator], name="generator")
        for _ in range(150):
            real, seed_noise = rng.normal([1, -1], 0.5, (64, 2)), rng.normal(size=(64, 4))
            fake = generator(seed_noise.astype(np.float32))
            both = np.concatenate([real.astype(np.float32), fake.numpy()])
            answers = np.repeat(np.array([1, 0], np.float32), 64)[:, np.newaxis]
            step(critic, judges[critic](critic(both), answers), moves)
            step(generator, judges[generator](critic(fake), answers[:64]), moves)
    diagnosis = diag.diagnose(diag.Log(tmp_path / "run"))
    assert [f.rule for f in diagnosis.findings if f.severity != "note"] == []


def step(model, loss, moves):
    moves[model].zero_grad()
    loss.backward()
    moves[model].step()
