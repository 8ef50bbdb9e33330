"""What stands where: file names, the growth of a schema, what has no place, and nothing new under SWMR."""

from typing import cast

import h5py
import numpy as np
import pytest

from diag.events import Axis, Layer, Model, Reading
from diag.log.schema import (
    LIBVER,
    AxisSchema,
    add,
    add_group,
    check_reading,
    check_scalar_name,
    extended,
    file_name,
    log_files,
)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        pytest.param({}, "log.h5", id="first"),
        pytest.param({"rank": 1}, "log.rank1.h5", id="rank"),
        pytest.param({"segment": 2}, "log.segment2.h5", id="segment"),
        pytest.param({"rank": 1, "segment": 2}, "log.rank1.segment2.h5", id="both"),
    ],
)
def test_a_file_is_named_after_its_rank_and_segment(place, name):
    assert file_name(**place) == name


def test_files_come_by_rank_and_segment_as_numbers_and_nothing_else_counts(tmp_path):
    names = ["log.h5", "log.segment2.h5", "log.segment10.h5", "log.rank2.h5", "log.rank10.h5"]
    for name in [*names, "log.h5.partial", "logs.h5", "log.rankx.h5", "run.json"]:
        (tmp_path / name).touch()
    assert [path.name for path in log_files(tmp_path)] == names
    assert [path.name for path in log_files(tmp_path, rank=10)] == ["log.rank10.h5"]


def test_layers_of_the_model_come_first_and_strangers_after_them():
    model = Model(layers=(Layer("a", "Linear"), Layer("b", "ReLU")))
    schema = extended({}, model, [Reading("x", "z", 1.0, "layers"), Reading("x", "b", 1.0, "layers")])
    assert schema["layers"] == AxisSchema(("a", "b", "z"), {"x": 3})


def test_an_extended_schema_keeps_what_there_was():
    before = extended({}, Model(), [Reading("x", "a", 1.0, "layers")])
    after = extended(before, Model(), [Reading("y", "b", 1.0, "layers")])
    assert after["layers"] == AxisSchema(("a", "b"), {"x": 2, "y": 2})


def test_the_index_of_curvature_is_as_long_as_its_longest_series():
    readings = [
        Reading("sharpness", "", 1.0, "curvature"),
        Reading("top_eigenvalues", "", np.ones(3), "curvature"),
        Reading("top_eigenvalues", "", np.ones(2), "curvature"),
        Reading("residuals", "", np.ones(1), "curvature"),
    ]
    assert extended({}, Model(), readings)["curvature"] == AxisSchema(
        ("0", "1", "2"), {"sharpness": 0, "top_eigenvalues": 3, "residuals": 1}
    )


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        pytest.param(
            Reading("x", "a", 1.0, cast("Axis", "units")),
            'axis out of layers, .*; the reading "x"',
            id="axis",
        ),
        pytest.param(Reading("a/b", "a", 1.0, "layers"), 'without "/".*got "a/b"', id="path"),
        pytest.param(Reading("", "a", 1.0, "layers"), 'got ""', id="no-name"),
        pytest.param(Reading("step", "", 1.0, "network"), 'other than .*step.*got "step"', id="step"),
        pytest.param(Reading("layer", "a", 1.0, "layers"), 'got "layer" for layers', id="scale"),
        pytest.param(Reading("x", "a", 1.0, "network"), 'without a subject; "x" came with "a"', id="subject"),
        pytest.param(
            Reading("x", "a", np.ones(2), "layers"), r"one number a reading.*shape \(2,\)", id="vector"
        ),
        pytest.param(
            Reading("x", "", np.ones((2, 2)), "curvature"), r"a vector.*shape \(2, 2\)", id="matrix"
        ),
    ],
)
def test_a_reading_without_a_place_is_refused(reading, message):
    with pytest.raises(ValueError, match=message):
        check_reading(reading)


@pytest.mark.parametrize("name", ["loss", "validation/loss", "é" * 128], ids=["plain", "path", "256-bytes"])
def test_a_scalar_may_have_any_name_that_fits(name):
    check_scalar_name(name)


@pytest.mark.parametrize(
    "name", ["", "a\0b", "é" * 129, "\ud800"], ids=["empty", "NUL", "258-bytes", "surrogate"]
)
def test_a_scalar_name_that_could_not_be_kept_whole_is_refused(name):
    with pytest.raises(ValueError, match="scalar names of 1 to 256 bytes"):
        check_scalar_name(name)


@pytest.mark.parametrize(
    "create", [add_group, lambda file, name: add(file, name, np.zeros(3), (name,))], ids=["group", "data"]
)
def test_nothing_is_created_once_swmr_has_started(tmp_path, create):
    with h5py.File(tmp_path / "x.h5", "w", libver=LIBVER) as file:
        create(file, "before")
        file.swmr_mode = True
        with pytest.raises(RuntimeError, match='"after" in / before SWMR starts'):
            create(file, "after")
        assert list(file) == ["before"]
