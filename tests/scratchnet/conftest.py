"""What the tests of scratchnet share."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers in every test and in every run."""
    return np.random.default_rng(0)
