"""Five largest eigenvalues of a network's Hessian: ours against plain Lanczos, the peers and the truth.

Times are counted in gradients of the same network, taken in turns in the same process on one thread. The
peers run where they are installed, an environment of their own: ``.venv-peers``, or the interpreter that
``SCRATCHDIAG_PEERS`` names. The truth is the dense Hessian: ARPACK on the matrix itself, and a Cholesky
factorisation which proves that there is no larger eigenvalue besides. It takes 6 GB and some minutes.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator, eigsh

import probes
from benchmarks.curvature_problem import STEPS, Found, K, Problem, marked, measured
from benchmarks.threads import one_thread
from benchmarks.timing import Row, row

TOLERANCE = 1e-4
DEAREST_SEARCH = 100.0
DEAREST_WARM_START = 0.8
LATER = 10
SEEDS = range(16)
LIKE = torch.empty(0)
# So many are known of the truth, for a missed one to be told from its neighbours.
KNOWN = 3 * K


def run() -> Iterator[Row]:
    """Measures after 300 steps of training, and a warm start ten steps later."""
    problem = Problem()
    problem.train(STEPS)
    truth = true_eigenvalues(problem.dense_hessian())
    with one_thread():
        for place, value in enumerate(truth[:K], start=1):
            yield row(
                f"truth by the dense Hessian: eigenvalue {place}", [value], None, unit="loss per weight²"
            )
        for name, found in _peers(problem).items():
            yield from _rows(name, found, truth)
        plain = measured(problem, lambda: _plain_lanczos(problem))
        yield from _rows("plain Lanczos", plain, truth)
        ours = measured(problem, lambda: _ours(problem))
        yield from _rows("probes.top_eigenvalues", ours, truth, products=plain["products"], strict=True)
        yield from _warm_start()


def true_eigenvalues(hessian: torch.Tensor) -> NDArray[np.float64]:
    """The largest ones of a dense symmetric matrix, largest first, proved to be all; destroys the matrix."""
    dim = len(hessian)
    operator = LinearOperator(
        (dim, dim), matvec=lambda v: (hessian @ torch.from_numpy(v)).numpy(), dtype=np.float32
    )
    values, vectors = eigsh(operator, k=KNOWN, which="LA", v0=np.ones(dim, dtype=np.float32))
    between = float(values[0] + values[1]) / 2
    # H + shift - (what is known above it) has no eigenvalue above `between`, or this is not definite.
    known = torch.from_numpy(vectors[:, 1:])
    hessian.neg_().diagonal().add_(between)
    hessian.addmm_(known * torch.from_numpy(values[1:]), known.T)
    _, failed = torch.linalg.cholesky_ex(hessian, out=(hessian, torch.empty((), dtype=torch.int32)))
    if failed:
        raise ArithmeticError(f"ARPACK missed an eigenvalue above {between}; the truth is not known")
    return np.sort(values.astype(np.float64))[::-1]


def _ours(problem: Problem) -> Found:
    found = _search(problem, None, 0)
    return found.values.tolist(), found.products


def _plain_lanczos(problem: Problem) -> Found:
    """The textbook's iteration with every direction kept orthogonal, from the start that ours has."""
    hvp = problem.make_hvp()
    start = np.random.default_rng(0).standard_normal(problem.dim).astype(np.float32)
    basis = [torch.from_numpy(start / np.linalg.norm(start))]
    diagonal: list[float] = []
    coupling: list[float] = []
    while True:
        rest = hvp(basis[-1])
        diagonal.append(float(rest @ basis[-1]))
        for _ in range(2):
            for direction in basis:
                rest = rest - (rest @ direction) * direction
        values, vectors = eigh_tridiagonal(diagonal, coupling)
        coupling.append(float(rest.norm()))
        residuals = coupling[-1] * np.abs(vectors[-1, -K:]) / np.abs(values).max()
        if len(basis) >= K and (residuals <= TOLERANCE).all():
            return values[-K:].tolist(), len(basis)
        basis.append(rest / coupling[-1])


def _warm_start() -> Iterator[Row]:
    """Products from the eigenvectors of ten steps ago over products from random starts, here and on more problems."""
    shares = [_share_of_a_warm_start(seed) for seed in SEEDS]
    for case, some in (("this problem", shares[:1]), (f"{len(shares)} problems", shares)):
        case = f"warm start {LATER} steps later, {case}"
        yield row(case, some, DEAREST_WARM_START, unit="× the cold start's products")
    yield row("warm start, the dearest of them", [max(shares)], None, unit="× the cold start's products")


def _share_of_a_warm_start(seed: int) -> float:
    problem = Problem(seed)
    problem.train(STEPS)
    earlier = _search(problem, None, seed).vectors
    problem.train(LATER)
    return _search(problem, earlier, seed).products / _search(problem, None, seed).products


def _search(problem: Problem, start: torch.Tensor | None, seed: int) -> probes.Eigenpairs:
    return probes.top_eigenvalues(
        problem.make_hvp(), problem.dim, k=K, tol=TOLERANCE, start=start, rng=seed, like=LIKE
    )


def _rows(
    name: str,
    found: dict[str, Any],
    truth: NDArray[np.float64],
    products: float | None = None,
    strict: bool = False,
) -> Iterator[Row]:
    marks = marked(found["values"], truth)
    yield row(f"{name}: time", found["times"], DEAREST_SEARCH if strict else None, unit="gradients")
    yield row(f"{name}: products", [found["products"]], products, unit="products")
    yield row(
        f"{name}: worst error", [1e6 * marks["error"]], 1e6 * TOLERANCE if strict else None, unit="millionths"
    )
    yield row(f"{name}: missed", [marks["missed"]], 0.0 if strict else None, unit=f"of {K} eigenvalues")


def _peers(problem: Problem) -> dict[str, Any]:
    """What the peers find, each that is installed; none where there is no environment for them."""
    python = os.environ.get("SCRATCHDIAG_PEERS", ".venv-peers/bin/python")
    if not Path(python).exists():
        print(f"curvature: no peers, for there is no {python}; make it, or name another in SCRATCHDIAG_PEERS")
        return {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "problem.pt"
        problem.save(file)
        command = [python, "-m", "benchmarks.curvature_peers", str(file)]
        finished = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found
