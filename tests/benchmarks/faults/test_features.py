"""A log as numbers, from a run that is known number by number."""

import numpy as np
import pytest

import diag
from benchmarks.faults.features import Course, course, features
from diag.events import Model, Reading
from diag.log import LogWriter

RISING = np.arange(16.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RISING, Course(0, 14.5, 0, 7.5, 15, 1)),
        (-RISING, Course(0, -14.5, -15, -7.5, 0, -1)),
        (np.full(16, 3.0), Course(3, 3, 3, 3, 3, 0)),
        (np.array([np.nan, 2.0, np.nan, 8.0]), Course(2, 8, 2, 5, 8, 1)),
        (np.array([5.0]), Course(5, 5, 5, 5, 5, 0)),
        (np.array([1.0, np.inf]), Course(1, 1e100, 1, 5e99, 1e100, 1)),
    ],
    ids=["rising", "falling", "constant", "with_holes", "single", "infinite"],
)
def test_a_column_is_where_it_starts_and_ends_its_range_and_its_trend(values, expected):
    assert course(values) == pytest.approx(expected)


def test_a_column_without_numbers_has_no_course():
    assert course(np.full(3, np.nan)) is None


@pytest.fixture
def told(tmp_path):
    """Of three steps: two layers, one number of the network, one of each kind that is left out, one that is none."""
    writer = LogWriter(tmp_path, describe=Model)
    for step in range(3):
        layers = [Reading("gradient_norm", f"fc{i}", (step + 1.0) * 10**i, "layers") for i in (1, 2)]
        network = [
            Reading(name, "", value, "network")
            for name, value in (
                ("criterion_loss", 1 / 3),
                ("wall_time", step),
                ("learning_rate", 0.1),
                ("input_mean", np.nan),
            )
        ]
        writer.write(step, [*layers, *network, Reading("rival_zero_share", "fc1", 0.0, "layers")])
    writer.close()
    return features(diag.Log(tmp_path))


def test_of_layers_the_least_the_middle_and_the_largest_are_kept(told):
    assert told["layers gradient_norm last least"] == 30
    assert told["layers gradient_norm last median"] == 165
    assert told["layers gradient_norm last largest"] == 300


def test_of_the_network_one_number_each_with_six_digits(told):
    assert told["network criterion_loss median"] == 0.333333


def test_clocks_choices_rivals_and_what_is_no_number_are_left_out(told):
    assert {name.split()[1] for name in told} == {"gradient_norm", "criterion_loss"}
