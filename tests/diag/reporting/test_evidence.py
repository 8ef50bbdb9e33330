"""Which figures a report has, and what stands beside them."""

import math
import re

import numpy as np
import pytest

from diag.diagnosis.findings import Diagnosis
from diag.events import Model, Reading
from diag.log import Log, LogWriter
from diag.reporting.evidence import exhibits

HEALTHY = Diagnosis("healthy", (), {})


@pytest.fixture(scope="module")
def found(log, diagnosis):
    """The figures of a full log, by key."""
    return {exhibit.key: exhibit for exhibit in exhibits(log, diagnosis)}


@pytest.fixture
def log_of(tmp_path):
    """A log of one step with these readings."""

    def write(*readings: Reading) -> Log:
        writer = LogWriter(tmp_path, describe=Model)
        writer.write(0, readings)
        writer.close()
        return Log(tmp_path)

    return write


def test_a_full_log_has_every_figure_in_order(found):
    assert list(found) == [
        "loss", "gradients", "updates", "dead-units", "curvature", "spectral-density", "noise-scale",
        "gradient-ratio", "learning-rate",
    ]  # fmt: skip


def test_a_figure_without_its_series_is_left_out(log_of):
    log = log_of(Reading("criterion_loss", "", 1.0, "network"))
    assert [exhibit.key for exhibit in exhibits(log, HEALTHY)] == ["loss"]


@pytest.mark.parametrize(
    "reading",
    [
        Reading("criterion_loss", "", math.nan, "network"),
        Reading("gradient_norm", "fc", math.nan, "layers"),
        Reading("top_eigenvalues", "", np.array([np.nan, np.nan]), "curvature"),
    ],
    ids=lambda reading: reading.name,
)
def test_a_figure_without_a_number_is_left_out(log_of, reading):
    assert exhibits(log_of(reading), HEALTHY) == ()


def test_numbers_of_a_line_tell_its_extremes_and_where(found):
    row = next(row for row in found["loss"].numbers if row.label == "criterion_loss")
    assert row.readings == 30
    assert row.lowest <= min(row.first, row.last) <= max(row.first, row.last) <= row.highest
    assert row.lowest_step in range(0, 300, 10)


def test_losses_and_accuracies_of_the_user_stand_beside_the_criterion(found):
    assert [row.label for row in found["loss"].numbers] == ["criterion_loss", "val_loss", "val_accuracy"]


def test_onsets_are_drawn_and_said_to_be(found):
    assert "finding of that number" in found["loss"].reading
    assert ">1, 2</text>" in found["loss"].svg
    assert ">3</text>" in found["loss"].svg


def test_a_loss_that_ends_in_nan_says_how_much_is_missing(tmp_path):
    writer = LogWriter(tmp_path, describe=Model)
    for step in range(5):
        writer.write(step, [Reading("criterion_loss", "", 1.0 if step < 2 else math.nan, "network")])
    writer.close()
    (exhibit,) = exhibits(Log(tmp_path), HEALTHY)
    assert exhibit.note == "criterion_loss is no finite number in 3 of 5 readings."
    assert ">4</text>" in exhibit.svg


def test_without_onsets_nothing_is_said_of_them(log):
    assert "finding" not in exhibits(log, HEALTHY)[0].reading


def test_a_map_marks_only_the_findings_that_rest_on_it(found):
    assert ">1</text>" in found["updates"].svg
    assert ">2</text>" in found["dead-units"].svg
    assert ">3</text>" in found["gradients"].svg
    assert ">3</text>" not in found["dead-units"].svg


def test_a_map_says_what_it_leaves_out(found):
    assert found["gradients"].note == ""
    assert found["dead-units"].note == "6 layers without any number are left out."


def test_a_map_says_how_it_is_reduced(tmp_path):
    writer = LogWriter(tmp_path, describe=Model)
    for step in range(401):
        writer.write(
            step, [Reading("gradient_norm", f"layer.{index}", 1.0, "layers") for index in range(121)]
        )
    writer.close()
    (exhibit,) = exhibits(Log(tmp_path), HEALTHY)
    assert exhibit.note == (
        "Each column is the maximum of 2 recorded steps. "
        "Each row is the maximum of 2 layers, named after the first."
    )
    assert (len(exhibit.numbers), exhibit.more_numbers) == (120, 1)


def test_each_watched_pair_has_its_own_curvatures(log_of):
    log = log_of(
        *(
            Reading(f"{pair}top_eigenvalues", "", np.array([2.0, 1.0]), "curvature")
            for pair in ("", "critic.")
        ),
        Reading("critic.stability_threshold", "", 3.0, "curvature"),
    )
    (exhibit,) = exhibits(log, HEALTHY)
    assert [row.label for row in exhibit.numbers] == [
        "critic.eigenvalue 1",
        "critic.eigenvalue 2",
        "critic.stability threshold",
        "eigenvalue 1",
        "eigenvalue 2",
    ]


class TestCurvature:
    def lines(self, log):
        (found,) = (exhibit for exhibit in exhibits(log, HEALTHY) if exhibit.key == "curvature")
        return [row.label for row in found.numbers], found.svg

    def test_the_threshold_stands_beside_the_eigenvalues_of_plain_descent(self, log_of):
        top = Reading("top_eigenvalues", "", np.array([3.0, 1.0]), "curvature")
        threshold = Reading("stability_threshold", "", 20.0, "curvature")
        labels, svg = self.lines(log_of(top, threshold))
        assert labels == ["eigenvalue 1", "eigenvalue 2", "stability threshold"]
        assert svg.count(">step<") == 1

    def test_and_beside_the_one_that_an_adaptive_optimiser_sees(self, log_of):
        top = Reading("top_eigenvalues", "", np.array([3.0]), "curvature")
        seen = Reading("preconditioned_top_eigenvalue", "", 900.0, "curvature")
        labels, _ = self.lines(log_of(top, Reading("stability_threshold", "", 3800.0, "curvature"), seen))
        assert labels == ["eigenvalue", "eigenvalue that the optimiser sees", "stability threshold"]


class TestSpectralDensity:
    """Nine tenths of the eigenvalues about zero, one tenth about ten."""

    GRID = np.linspace(-5, 15, 128)

    def exhibit(self, log_of, width=0.5, **of):
        weights, centres = (0.9, 0.1), (0.0, 10.0)
        density = sum(
            w * np.exp(-(((self.GRID - c) / width) ** 2) / 2) for w, c in zip(weights, centres, strict=True)
        )
        pair = of.get("pair", "")
        readings = [
            Reading(f"{pair}spectral_density", "", density, "curvature"),
            Reading(f"{pair}spectral_density_grid", "", self.GRID, "curvature"),
        ]
        (found,) = exhibits(log_of(*readings), HEALTHY)
        return found

    def test_its_numbers_are_quantiles_and_what_is_negative(self, log_of):
        rows = {row.label: row.last for row in self.exhibit(log_of).numbers}
        assert rows["50% lie below"] == pytest.approx(0.07, abs=0.1)
        assert rows["95% lie below"] == pytest.approx(10, abs=0.2)
        assert rows["share below zero"] == pytest.approx(0.45, abs=0.06)

    def test_rows_are_round_numbers_with_zero_among_them(self, log_of):
        labels = re.findall(r">([−\d.]+)</text>", self.exhibit(log_of).svg)
        assert {"16", "10", "2", "0", "−2", "−6"} <= set(labels)

    def test_where_nothing_lies_is_white(self, log_of):
        found = self.exhibit(log_of, width=0.2)
        assert "less than a millionth" in found.note
        assert ">zero<" in found.svg

    def test_a_pair_has_its_own(self, log_of):
        found = self.exhibit(log_of, pair="critic.")
        assert (found.key, found.title) == (
            "critic-spectral-density", "Eigenvalues of the Hessian over time (critic)",
        )  # fmt: skip

    def test_a_look_that_failed_is_left_out(self, log_of):
        none = np.full(3, np.nan)
        readings = [
            Reading(name, "", none, "curvature") for name in ("spectral_density", "spectral_density_grid")
        ]
        assert exhibits(log_of(*readings), HEALTHY) == ()


def test_the_noise_scale_is_joined_from_reading_to_reading(tmp_path):
    writer = LogWriter(tmp_path, describe=Model)
    for step in range(9):
        writer.write(step, [Reading("batch_size", "", 64.0, "network")])
        if step % 4 == 0:
            writer.write(step, [Reading("gradient_noise_scale", "", 100.0 + step, "network")])
    writer.close()
    (found,) = exhibits(Log(tmp_path), HEALTHY)
    assert [(row.label, row.readings, row.last) for row in found.numbers] == [
        ("gradient_noise_scale", 3, 108.0),
        ("batch_size", 9, 64.0),
    ]
    assert found.note == ""


def test_a_batch_size_alone_is_no_noise_scale(log_of):
    assert exhibits(log_of(Reading("batch_size", "", 64.0, "network")), HEALTHY) == ()
