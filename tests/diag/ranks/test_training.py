"""Ranks that train together over gloo: each records for itself, and the log reads them as one."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import diag

torch = pytest.importorskip("torch")

WORKER = Path(__file__).with_name("worker.py")
# As the worker has them.
STEPS, MAX_NORM, DRIFT_AT, DIES_AT = 6, 0.05, 3, 300
AVERAGED = ("bare", "recorded", "drifting", "bare_clipped", "clipped")
# Over how many ranks each parameter is spread.
SPREAD = {"sharded": 4, "hybrid": 2}


def train_together(folder, world_size, *scenarios):
    """Runs the scenarios on so many ranks; gives how each ended."""
    ranks = [
        subprocess.Popen([sys.executable, WORKER, folder, str(rank), str(world_size), *scenarios])
        for rank in range(world_size)
    ]
    try:
        return [rank.wait(timeout=200) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    assert train_together(folder, 2, *AVERAGED, "bare_normalised", "looking") == [0, 0]
    return folder


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    folder = tmp_path_factory.mktemp("four")
    spread = [f"{how}{run}" for run in SPREAD for how in ("bare_", "")]
    ended = train_together(folder, 4, *AVERAGED, *spread)
    assert ended == [0, 0, 0, 0]
    return folder


RUNS = [pytest.param("two", id="two"), pytest.param("four", id="four", marks=pytest.mark.slow)]


@pytest.fixture
def together(request):
    return request.getfixturevalue(request.param)


def truth(folder, scenario, name, world_size):
    return [np.load(folder / scenario / f"truth{rank}.npz")[name] for rank in range(world_size)]


def size(folder):
    # Its number is not always 0: tests of one file may come to a worker in several lots.
    return {"two": 2, "four": 4}[folder.name.rstrip("0123456789")]


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_look_that_one_rank_takes_alone_waits_for_nobody_and_changes_nothing(two):
    for bare, looking in zip(
        truth(two, "bare_normalised", "weights", 2), truth(two, "looking", "weights", 2), strict=True
    ):
        np.testing.assert_array_equal(bare, looking)
    log = diag.Log(two / "looking")
    assert [happening for happening in log.happenings if happening.kind == "failure"] == []
    assert (log.series("probe_loss").values > 0).all()


@pytest.mark.parametrize("together", RUNS, indirect=True)
class TestAveraged:
    def test_training_is_the_same_to_the_last_bit_with_and_without_a_recorder(self, together):
        for pair in (("bare", "recorded"), ("bare_clipped", "clipped")):
            for name in ("weights", "kept", "relu"):
                bare, recorded = (truth(together, run, name, size(together)) for run in pair)
                np.testing.assert_array_equal(bare, recorded)

    def test_each_rank_writes_a_file_of_its_own_and_the_first_alone_tells_of_the_run(self, together):
        folder = together / "recorded"
        ranks = range(size(together))
        assert {path.name for path in folder.glob("log*")} == {
            f"log.rank{rank}.h5" if rank else "log.h5" for rank in ranks
        }
        assert all(list((folder / (f"rank{rank}" if rank else "")).glob("events.out.*")) for rank in ranks)
        assert list(folder.glob("**/run.json")) == [folder / "run.json"]
        log = diag.Log(folder)
        assert (log.run["world_size"], log.run["rank"]) == (size(together), 0)
        assert (log.ranks, log.state, log.happenings) == (tuple(ranks), "closed", ())

    def test_gradients_are_those_that_every_rank_steps_by(self, together):
        log = diag.Log(together / "recorded")
        for rank, kept in enumerate(truth(together, "recorded", "kept", size(together))):
            assert_close(log.series("gradient_norm", "parameters").values, kept[:, :-1])
            alone = log.rank(rank).series("gradient_norm", "parameters")
            np.testing.assert_array_equal(alone.values, log.series("gradient_norm", "parameters").values)

    def test_activations_and_losses_are_of_each_rank_and_pooled_of_all(self, together):
        log = diag.Log(together / "recorded")
        losses = [kept[:, -1] for kept in truth(together, "recorded", "kept", size(together))]
        outputs = truth(together, "recorded", "relu", size(together))
        for rank, output in enumerate(outputs):
            own = log.rank(rank).series("activation_mean")
            assert_close(own.column("1"), output.mean(axis=(1, 2)))
            assert_close(log.rank(rank).series("criterion_loss").values[:, 0], losses[rank])
        every = np.concatenate(outputs, axis=1)
        assert_close(log.series("criterion_loss").values[:, 0], np.mean(losses, axis=0))
        assert_close(log.series("activation_mean").column("1"), every.mean(axis=(1, 2)))
        assert_close(log.series("activation_rms").column("1"), np.sqrt((every**2).mean(axis=(1, 2))))
        assert (log.series("dead_unit_rate").column("1") >= (every == 0).all(axis=1).mean(axis=1)).all()

    def test_the_norm_before_clipping_is_that_of_the_averaged_gradient(self, together):
        log = diag.Log(together / "clipped")
        kept = truth(together, "clipped", "kept", size(together))[0]
        before = np.linalg.norm(kept[:, :-1], axis=1)
        assert_close(log.series("gradient_norm_before_clipping").values[:, 0], before)
        clipped = np.minimum(before, MAX_NORM)
        np.testing.assert_allclose(log.series("gradient_norm", "network").values[:, 0], clipped, rtol=1e-4)

    def test_ranks_in_step_have_one_checksum(self, together):
        log = diag.Log(together / "recorded")
        sums = [log.rank(rank).series("parameter_checksum").values for rank in log.ranks]
        assert len(np.unique(sums[0])) == STEPS
        assert all(np.array_equal(sums[0], other) for other in sums)
        diagnosis = diag.diagnose(log)
        assert "ranks_out_of_sync" not in diagnosis.not_assessed
        assert "ranks_out_of_sync" not in {finding.rule for finding in diagnosis.findings}

    def test_one_bit_on_one_rank_is_found_at_its_step(self, together):
        findings = diag.diagnose(diag.Log(together / "drifting")).findings
        (found,) = [finding for finding in findings if finding.rule == "ranks_out_of_sync"]
        assert (found.severity, found.onset_step) == ("fault", DRIFT_AT)
        assert (found.evidence.last_healthy_step, found.evidence.readings) == (DRIFT_AT - 1, STEPS - DRIFT_AT)
        assert f"the parameters of rank {size(together) - 1} differ from" in found.evidence.text


@pytest.mark.slow
@pytest.mark.parametrize("run", SPREAD)
class TestSpread:
    def test_training_is_the_same_to_the_last_bit_with_and_without_a_recorder(self, four, run):
        for name in ("weights", "kept", "relu"):
            bare, recorded = (truth(four, each, name, 4) for each in (f"bare_{run}", run))
            np.testing.assert_array_equal(bare, recorded)

    def test_norms_of_parts_become_those_of_the_whole(self, four, run):
        log, averaged = diag.Log(four / run), diag.Log(four / "recorded")
        assert {parameter.shards for parameter in log.model.parameters} == {SPREAD[run]}
        assert [layer.kind for layer in log.model.layers] == ["Linear", "ReLU", "Linear"]
        kept = truth(four, run, "kept", 4)[0]
        assert_close(log.series("gradient_norm", "parameters").values, kept[:, :-1])
        for name in ("weight_norm", "update_norm", "update_ratio", "gradient_norm_ratio"):
            np.testing.assert_allclose(log.series(name).values, averaged.series(name).values, rtol=1e-10)
        for table in ("layers", "network"):
            whole, expected = (each.series("gradient_norm", table).values for each in (log, averaged))
            np.testing.assert_allclose(whole, expected, rtol=1e-10)

    def test_what_no_rank_can_know_is_told(self, four, run):
        log = diag.Log(four / run)
        assert [(told.kind, told.subject) for told in log.happenings] == [
            ("unseen", "parameter_checksum"),
            ("unseen", "gradient_norm_before_clipping"),
        ]
        assert "ranks_out_of_sync" in diag.diagnose(log).not_assessed


@pytest.mark.slow
def test_a_rank_that_is_killed_is_told_and_the_others_are_read(tmp_path):
    codes = train_together(tmp_path, 2, "dying")
    assert codes[1] == -9
    assert codes[0] not in (0, -9)
    log = diag.Log(tmp_path / "dying")
    assert (log.ranks, log.state) == ((0, 1), "closed")
    assert log.steps.tolist() == list(range(DIES_AT))
    alone = log.rank(1)
    assert alone.state == "killed"
    assert len(alone.steps) >= 256
    (told,) = [happening for happening in log.happenings if happening.kind == "rank"]
    assert told.subject == "rank 1"
    assert told.message.startswith(
        f"has no end: killed, or still at work, after recorded step {alone.steps[-1]}"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "ranks_out_of_sync" not in {finding.rule for finding in diag.diagnose(log).findings}
