"""Ranks that no longer hold the same parameters."""

import numpy as np
import pytest

import diag
from diag.events import Model, Optimizer, Reading
from diag.log import LogWriter


@pytest.fixture
def write(tmp_path):
    """Writes a run of ranks, each with its checksum at every tenth step; None for a rank without any."""

    def written(*sums_of_ranks, pair=""):
        model = Model(optimizers=tuple(Optimizer(name, "SGD") for name in dict.fromkeys(("", pair))))
        name = f"{pair}.parameter_checksum".lstrip(".")
        for rank, sums in enumerate(sums_of_ranks):
            writer = LogWriter(tmp_path, describe=lambda: model, rank=rank)
            for row, total in enumerate(sums or []):
                readings = [Reading(name, "", total, "network"), Reading("wall_time", "", row, "network")]
                writer.write(10 * row, readings)
            writer.close()
        return diag.Log(tmp_path)

    return written


def found_in(log):
    return [finding for finding in diag.diagnose(log).findings if finding.rule == "ranks_out_of_sync"]


SUMS = [5.0, 6.0, 7.0, 8.0, 9.0, 2.0**52 - 48]


@pytest.mark.parametrize(
    ("others", "apart"),
    [
        pytest.param([[*SUMS[:3], 0, 1, 2]], "rank 1 differ from those of rank 0", id="two"),
        pytest.param(
            [SUMS, [*SUMS[:3], 0, 1, 2], SUMS],
            "rank 2 differ from those of ranks 0, 1 and 3",
            id="one-of-four",
        ),
        pytest.param(
            [[*SUMS[:3], 0, 1, 2]] * 2, "rank 0 differ from those of ranks 1 and 2", id="the-first-of-three"
        ),
        pytest.param(
            [[*SUMS[:3], total, 1, 2] for total in (0, 3)],
            "ranks 1 and 2 differ from those of rank 0",
            id="each-its-own",
        ),
    ],
)
def test_the_ranks_that_differ_are_named_with_the_step(write, others, apart):
    (found,) = found_in(write(SUMS, *others))
    assert (found.severity, found.onset_step, found.layer) == ("fault", 30, None)
    assert (found.evidence.last_healthy_step, found.evidence.readings) == (20, 3)
    expected = f"At step 30 the parameters of {apart}; at step 20 all were the same."
    assert found.evidence.text == expected


def test_the_last_bit_of_the_largest_sum_counts(write):
    (found,) = found_in(write(SUMS, [*SUMS[:-1], SUMS[-1] - 1]))
    assert (found.onset_step, found.evidence.value) == (50, 2.0)


def test_ranks_that_were_never_the_same(write):
    (found,) = found_in(write(SUMS, SUMS[::-1]))
    assert (found.onset_step, found.evidence.last_healthy_step) == (0, None)
    assert "this is the first recorded step" in found.evidence.text


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([SUMS], id="the-same"),
        pytest.param([SUMS[:2]], id="one-ended-early"),
        pytest.param([[5.0, np.nan, 7.0, 8.0, 9.0, SUMS[-1]]], id="one-was-not-measured"),
    ],
)
def test_ranks_in_sync_are_healthy(write, others):
    log = write(SUMS, *others)
    assert found_in(log) == []
    assert "ranks_out_of_sync" not in diag.diagnose(log).not_assessed


@pytest.mark.parametrize(
    ("ranks", "reason"),
    [
        pytest.param([None], "the log has no parameter_checksum", id="one-rank"),
        pytest.param([SUMS], "the checksums of only one rank can be read", id="one-is-left"),
        pytest.param([SUMS, None], "the checksums of only one rank can be read", id="one-died-at-once"),
    ],
)
def test_one_rank_has_nobody_to_differ_from(write, ranks, reason):
    log = write(*ranks)
    assert found_in(log) == []
    assert diag.diagnose(log).not_assessed["ranks_out_of_sync"] == reason


def test_each_watched_pair_is_judged_by_itself(write):
    (found,) = found_in(write(SUMS, [*SUMS[:3], 0, 1, 2], pair="critic"))
    assert found.evidence.series == "critic.parameter_checksum"
