"""The libraries that every probe must give the same numbers in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from probes import sums


@pytest.fixture(params=["compiled", "in NumPy"])
def compiled_or_not(request, monkeypatch) -> None:
    """Sums as they were compiled, and as they are where they were not."""
    if request.param == "in NumPy":
        monkeypatch.setattr(sums, "compiled", sums._Uncompiled())
    elif not sums.IS_COMPILED:
        pytest.skip("there was no compiler")


@pytest.fixture(params=["numpy", "torch"])
def in_library(request) -> Callable[[NDArray[Any]], Any]:
    """Turns a NumPy array into one of the library under test."""
    if request.param == "numpy":
        return np.asarray
    torch = pytest.importorskip("torch")
    return lambda array: torch.asarray(np.array(array))
