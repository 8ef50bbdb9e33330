"""The main measures of a run, as one number a step."""

import numpy as np
import pytest

from diag.curves import curves
from diag.events import Model, Reading
from diag.log import Log, LogWriter


@pytest.mark.parametrize(("extra", "expected"), [({}, 0.5), ({"preconditioned_top_eigenvalue": 3.0}, 0.75)])
def test_the_threshold_is_set_against_the_curvature_that_the_optimiser_sees(tmp_path, extra, expected):
    writer = LogWriter(tmp_path, describe=Model)
    numbers = {"top_eigenvalues": np.array([2.0, 1.0]), "stability_threshold": 4.0, **extra}
    writer.write(0, [Reading(name, "", value, "curvature") for name, value in numbers.items()])
    writer.close()
    found = {measure.name: curve.last for measure, curve in curves(Log(tmp_path)).items()}
    assert (found["top_eigenvalue"], found["sharpness_over_threshold"]) == (2.0, expected)
