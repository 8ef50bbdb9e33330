"""One description trains alike in both frameworks, and recording it changes nothing."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import diag
from benchmarks.faults import healthy
from benchmarks.faults.datasets import Examples
from benchmarks.faults.families import FAMILIES, HALVES
from benchmarks.faults.training import EVALUATIONS, LOOKS, skill, train

EVERY = [program for half in HALVES for program in FAMILIES[half]]


@pytest.mark.parametrize("program", EVERY, ids=lambda program: program.family)
def test_both_frameworks_train_alike(program):
    pytest.importorskip("torch")
    # Dropout draws from each framework's own generator.
    short = program.but("loop", steps=12).but("network", dropout=0.0)
    mine, other = (train(replace(short, framework=name), 3).skill for name in ("scratchnet", "torch"))
    assert mine == pytest.approx(other, abs=0.02)


# With dropout, with batch normalisation, with a memory, with attention.
SOME = [FAMILIES["tuning"][index] for index in (0, 3, 8, 10)]


@pytest.mark.parametrize("framework", ["scratchnet", "torch"])
@pytest.mark.parametrize("program", SOME, ids=lambda program: program.family)
def test_recording_changes_nothing(program, framework, tmp_path):
    pytest.importorskip(framework)
    program = replace(program.but("loop", steps=16), framework=framework)
    with diag.Recorder(tmp_path / "run", every=1) as recorder:
        recorded = train(program, 5, recorder)
    assert recorded == train(program, 5)
    log = diag.Log(tmp_path / "run")
    assert len(log.series("val_loss").steps) == EVALUATIONS
    for look in ("probe_loss", "gradient_noise_scale", "top_eigenvalues"):
        assert np.isfinite(log.series(look).values).sum() == LOOKS
    assert not [told for told in log.happenings if told.kind == "failure"]


def test_a_seed_decides_everything():
    program = FAMILIES["tuning"][0].but("loop", steps=20)
    assert train(program, 5) == train(program, 5)
    assert train(program, 5) != train(program, 6)


def test_a_look_that_a_fault_breaks_is_told_and_hinders_nothing(tmp_path):
    program = FAMILIES["tuning"][0].but("loop", steps=20).but("data", broken=500)
    with warnings.catch_warnings():
        # What is broken is warned of by everybody concerned.
        warnings.simplefilter("ignore")
        with diag.Recorder(tmp_path, every=1) as recorder:
            train(program, 5, recorder)
    log = diag.Log(tmp_path)
    assert any("curvature failed" in told.message for told in log.happenings)
    assert len(log.series("criterion_loss").steps) == 20


def test_looks_are_taken_at_the_few_examples_that_are_left(tmp_path):
    program = FAMILIES["tuning"][1].but("loop", steps=8).but("data", kept=0.0)
    with diag.Recorder(tmp_path, every=1) as recorder:
        train(program, 5, recorder)
    log = diag.Log(tmp_path)
    assert set(log.series("gradient_noise_examples").values.ravel()) == {2.0 * 3}
    assert not [told for told in log.happenings if told.kind == "failure"]


@pytest.mark.parametrize("half", HALVES)
def test_every_healthy_draw_can_be_trained(half):
    pytest.importorskip("torch")
    for index in range(60):
        program = healthy.draw(half, index, 0)
        short = program.but("loop", steps=2, pretrained=min(program.loop.pretrained, 2))
        assert np.isfinite(train(short, 0).skill)


CLASSES = Examples(np.zeros((4, 1)), np.array([0, 0, 0, 1]))
NUMBERS = Examples(np.zeros((4, 1)), np.array([[0.0], [1.0], [2.0], [3.0]]))


@pytest.mark.parametrize(
    ("predicted", "examples", "expected"),
    [
        (np.eye(2)[[0, 0, 0, 1]], CLASSES, 1.0),
        (np.eye(2)[[0, 0, 0, 0]], CLASSES, 0.0),
        (np.eye(2)[[1, 1, 1, 0]], CLASSES, -1.0),
        (np.full((4, 2), np.nan), CLASSES, -1.0),
        (NUMBERS.y, NUMBERS, 1.0),
        (np.full((4, 1), 1.5), NUMBERS, 0.0),
        (np.full((4, 1), 99.0), NUMBERS, -1.0),
    ],
    ids=["perfect", "majority", "wrong", "lost", "exact", "mean", "far_off"],
)
def test_skill_is_one_for_perfection_and_zero_for_a_guess(predicted, examples, expected):
    assert skill(predicted, examples) == pytest.approx(expected)
