"""The libraries that every probe must give the same numbers in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(params=["numpy", "torch"])
def in_library(request) -> Callable[[NDArray[Any]], Any]:
    """Turns a NumPy array into one of the library under test."""
    if request.param == "numpy":
        return np.asarray
    torch = pytest.importorskip("torch")
    return lambda array: torch.asarray(np.array(array))
