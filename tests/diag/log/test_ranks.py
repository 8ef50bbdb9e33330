"""Ranks of a run read as one, whatever has become of their files."""

import argparse
import sys

import numpy as np
import pytest

from diag.events import Happening, Layer, Model, Optimizer, Parameter, Reading
from diag.log import Log, LogError, LogWriter, rank_and_world_size, write_run

NOTHING = Model()
SPREAD = Model(
    layers=(Layer("a", "Linear", (2,), ("a.weight", "a.bias")), Layer("b", "Linear", (2,), ("b.weight",))),
    parameters=(
        Parameter("a.weight", "a", (4, 2), shards=2),
        Parameter("a.bias", "a", (4,), shards=1),
        Parameter("b.weight", "b", (2, 4), shards=2),
    ),
    optimizers=(Optimizer("", "SGD"),),
)


@pytest.fixture
def write(folder, monkeypatch):
    """Writes the file of one rank: rows of readings at steps 0, 1, 2, …; and run.json with the first."""

    def written(rank, rows, *, world_size=2, model=NOTHING, reason="finished", happenings=()):
        if rank == 0:
            monkeypatch.setenv("WORLD_SIZE", str(world_size))
            write_run(folder)
        writer = LogWriter(folder, describe=lambda: model, rank=rank)
        for step, row in enumerate(rows):
            writer.write(step, row)
        for happening in happenings:
            writer.write_happening(happening)
        writer.close(reason)
        return folder

    return written


def of_layer(name, *values):
    return [[Reading(name, "fc", value, "layers")] for value in values]


def of_network(name, *values):
    return [[Reading(name, "", value, "network")] for value in values]


# ------------------------------------------------------------------------------------ pooled


@pytest.mark.parametrize(
    ("name", "pooled"),
    [
        pytest.param("activation_mean", 2.5, id="mean"),
        pytest.param("saturation_rate", 2.5, id="saturated"),
        pytest.param("my_own_probe", 2.5, id="own"),
        pytest.param("activation_rms", np.sqrt(8.5), id="rms"),
        pytest.param("activation_non_finite_count", 5.0, id="count"),
        pytest.param("dead_unit_rate", 1.0, id="dead"),
        pytest.param("dead_unit_rate_pooled", 1.0, id="dead-pooled"),
        pytest.param("gradient_norm", 4.0, id="the-same-everywhere"),
    ],
)
def test_what_layers_do_with_each_ranks_examples_is_pooled(write, name, pooled):
    write(0, of_layer(name, 4.0))
    log = Log(write(1, of_layer(name, 1.0)))
    assert log.series(name).values.tolist() == [[pooled]]
    assert [log.rank(rank).series(name).values.item() for rank in log.ranks] == [4.0, 1.0]


@pytest.mark.parametrize(
    ("name", "pooled"),
    [
        pytest.param("criterion_loss", 2.5, id="loss"),
        pytest.param("critic.criterion_loss", 2.5, id="loss-of-a-pair"),
        pytest.param("input_mean", 2.5, id="mean"),
        pytest.param("target_min", 1.0, id="least"),
        pytest.param("prediction_max", 4.0, id="largest"),
        pytest.param("learning_rate", 4.0, id="learning-rate"),
        pytest.param("wall_time", 4.0, id="clock"),
    ],
)
def test_what_the_network_is_fed_and_makes_of_it_is_pooled(write, name, pooled):
    write(0, of_network(name, 4.0))
    assert Log(write(1, of_network(name, 1.0))).series(name).values.tolist() == [[pooled]]


def test_the_pooled_spread_is_that_of_all_examples_together(write):
    shares = np.random.default_rng(0).normal([[0.0], [3.0]], [[1.0], [2.0]], (2, 100))
    for rank, share in enumerate(shares):
        row = [
            Reading("input_mean", "", share.mean(), "network"),
            Reading("input_std", "", share.std(), "network"),
        ]
        folder = write(rank, [row])
    assert Log(folder).series("input_std").values.item() == pytest.approx(shares.std(), rel=1e-12)


def test_nan_on_one_rank_carries_through_and_a_missing_step_does_not(write):
    write(0, of_layer("activation_mean", 1.0, 1.0, 1.0))
    log = Log(write(1, of_layer("activation_mean", 3.0, np.nan)))
    np.testing.assert_array_equal(log.series("activation_mean").values[:, 0], [2.0, np.nan, 1.0])


def test_a_layer_that_one_rank_never_heard_is_pooled_of_the_others(write):
    write(0, [[Reading("activation_mean", layer, 4.0, "layers") for layer in ("a", "b")]])
    log = Log(write(1, [[Reading("activation_mean", layer, 2.0, "layers") for layer in ("c", "b")]]))
    series = log.series("activation_mean")
    assert (series.columns, series.values.tolist()) == (("a", "b"), [[4.0, 3.0]])


def test_one_file_and_one_rank_are_read_as_they_are(write):
    write(0, of_layer("activation_mean", 4.0))
    folder = write(1, of_layer("activation_mean", 2.0))
    logs = Log(folder / "log.rank1.h5"), Log(folder, rank=1), Log(folder / "log.rank1.h5").rank(1)
    for log in logs:
        assert (log.ranks, log.series("activation_mean").values.item(), log.happenings) == ((1,), 2.0, ())


# --------------------------------------------------------------------------------- put together


def spread_rows(*norms_of_steps, names=("weight_norm",)):
    parameters = [parameter.name for parameter in SPREAD.parameters]
    return [
        [
            Reading(name, parameter, norm, "parameters")
            for name in names
            for parameter, norm in zip(parameters, norms, strict=True)
        ]
        for norms in norms_of_steps
    ]


def test_the_norm_of_a_spread_parameter_is_that_of_the_whole(write):
    write(0, spread_rows((3.0, 7.0, 0.0), (5.0, 7.0, 1e200)), model=SPREAD)
    log = Log(write(1, spread_rows((4.0, 7.0, 2.0), (12.0, 7.0, 1e200)), model=SPREAD))
    np.testing.assert_allclose(
        log.series("weight_norm").values, [[5.0, 7.0, 2.0], [13.0, 7.0, np.sqrt(2) * 1e200]], rtol=1e-15
    )


def test_parts_that_lie_on_two_ranks_each_count_once(write):
    for rank, norm in enumerate((3.0, 4.0, 3.0, 4.0)):
        folder = write(rank, spread_rows((norm, 7.0, 1.0)), model=SPREAD, world_size=4)
    np.testing.assert_allclose(Log(folder).series("weight_norm").values, [[5.0, 7.0, np.sqrt(2)]])


def test_gradient_norms_of_layers_and_network_follow_from_the_whole(write):
    for rank, norms in enumerate([(3.0, 12.0, 6.0), (4.0, 12.0, 8.0)]):
        rows = spread_rows(norms, names=("gradient_norm", "update_norm", "gradient_non_finite_count"))
        rows[0] += spread_rows((5.0, 24.0, 0.0))[0]
        rows[0] += [Reading("gradient_norm", layer, 0.5, "layers") for layer in ("a", "b")]
        rows[0] += [Reading("update_ratio", p.name, 0.5, "parameters") for p in SPREAD.parameters]
        for name in ("gradient_norm", "gradient_norm_ratio", "gradient_norm_before_clipping"):
            rows[0].append(Reading(name, "", 0.5, "network"))
        folder = write(rank, rows, model=SPREAD)
    log = Log(folder)
    assert log.series("gradient_norm", "layers").values.tolist() == [[13.0, 10.0]]
    assert log.series("gradient_norm", "network").values.item() == pytest.approx(np.sqrt(269), rel=1e-15)
    assert log.series("gradient_norm_ratio").values.tolist() == [[1.3]]
    assert log.series("gradient_non_finite_count").values.tolist() == [[7.0, 12.0, 14.0]]
    np.testing.assert_allclose(log.series("update_ratio").values, [[5 / np.sqrt(50), 0.5, np.nan]])
    assert np.isnan(log.series("gradient_norm_before_clipping").values).all()


def test_where_a_rank_is_missing_nobody_knows_the_whole(write):
    log = Log(write(0, spread_rows((3.0, 7.0, 0.0)), model=SPREAD))
    np.testing.assert_array_equal(log.series("weight_norm").values, [[np.nan, 7.0, np.nan]])
    log = Log(write(1, [], model=SPREAD))
    np.testing.assert_array_equal(log.series("weight_norm").values, [[np.nan, 7.0, np.nan]])


# ------------------------------------------------------------------------------ ranks in trouble


def of_ranks(log):
    return [(told.subject, told.message) for told in log.happenings if told.kind == "rank"]


def test_ranks_without_a_file_are_told(write):
    write(0, of_layer("activation_mean", 1.0), world_size=7)
    log = Log(write(3, of_layer("activation_mean", 3.0)))
    assert log.ranks == (0, 3)
    message = "left no log: not recorded, or killed before it was written"
    assert of_ranks(log) == [("rank 1 to 2", message), ("rank 4 to 6", message)]
    assert log.series("activation_mean").values.tolist() == [[2.0]]


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_damaged_file_is_told_and_the_others_are_read(write, damaged):
    write(0, of_layer("activation_mean", 1.0))
    folder = write(1, of_layer("activation_mean", 3.0))
    path = folder / ("log.rank1.h5" if damaged else "log.h5")
    path.write_bytes(path.read_bytes()[:1000])
    log = Log(folder)
    assert log.ranks == (1 - damaged,)
    ((subject, message),) = of_ranks(log)
    assert (subject, message[:20]) == (f"rank {damaged}", "cannot be read: Log ")
    assert "truncated" in message
    assert log.series("activation_mean").values.tolist() == [[1.0 if damaged else 3.0]]


def test_a_rank_that_ended_otherwise_is_told(write):
    write(0, of_layer("activation_mean", 1.0, 1.0, 1.0))
    log = Log(write(1, of_layer("activation_mean", 3.0), reason="ValueError: no"))
    assert of_ranks(log) == [
        ("rank 1", "ended with 'ValueError: no', after recorded step 0; rank 0: finished")
    ]
    assert (log.state, log.rank(1).end_reason) == ("closed", "ValueError: no")


def test_what_happened_on_several_ranks_is_told_once_and_on_one_with_its_name(write):
    shared = Happening(1, "unseen", "fc", "it did not run")
    write(0, of_layer("activation_mean", 1.0), happenings=[shared, Happening(3, "skipped_step", "", "one")])
    own = Happening(2, "non_finite", "fc", "activation: 4")
    log = Log(write(1, of_layer("activation_mean", 3.0), happenings=[shared, own]))
    assert log.happenings == (
        shared,
        own._replace(message="on rank 1: activation: 4"),
        Happening(3, "skipped_step", "", "one"),
    )
    assert log.rank(1).happenings == (shared, own)


def test_a_rank_that_is_not_there(write):
    with pytest.raises(LogError, match=r"has no log of rank 3 that can be read; there is: 0"):
        Log(write(0, of_layer("activation_mean", 1.0))).rank(3)


# ---------------------------------------------------------------------------- which rank this is


def distributed(is_initialized):
    return argparse.Namespace(
        is_available=lambda: True,
        is_initialized=lambda: is_initialized,
        get_rank=lambda: 5,
        get_world_size=lambda: 6,
    )


@pytest.mark.parametrize(
    ("loaded", "launched", "expected"),
    [
        pytest.param(None, {}, (0, 1), id="nothing"),
        pytest.param(None, {"RANK": "1", "WORLD_SIZE": "4"}, (1, 4), id="launcher"),
        pytest.param(None, {"RANK": "3"}, (0, 1), id="left-behind"),
        pytest.param(distributed(False), {"RANK": "1", "WORLD_SIZE": "4"}, (1, 4), id="not-yet"),
        pytest.param(distributed(True), {"RANK": "1", "WORLD_SIZE": "4"}, (5, 6), id="torch"),
    ],
)
def test_torch_says_first_which_rank_this_is_then_the_launcher(monkeypatch, loaded, launched, expected):
    monkeypatch.setitem(sys.modules, "torch.distributed", loaded)
    for variable in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in launched.items():
        monkeypatch.setenv(variable, value)
    assert rank_and_world_size() == expected
