"""The peers' side of the curvature benchmark, run where they are installed.

``python -m benchmarks.curvature_peers FILE`` loads a saved `Problem` and prints JSON: for each peer its
eigenvalues, its products, and its time turn by turn in gradients. A peer that is not installed is left out.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks.curvature_problem import Found, K, Problem, Search, measured


def main(file: Path) -> None:
    """Print what each peer finds."""
    torch.set_num_threads(1)
    problem = Problem()
    problem.load(file)
    results: dict[str, Any] = {}
    for name, search in peers(problem):
        results[name] = measured(problem, search)
    print(json.dumps(results))


def peers(problem: Problem) -> Iterator[tuple[str, Search]]:
    """The peers that are installed, as they are used in their own examples."""
    with suppress(ImportError):
        yield "PyHessian, deflated power iteration", pyhessian(problem)
    with suppress(ImportError):
        yield "curvlinops, eigsh(tol=1e-4)", curvlinops(problem)
    with suppress(ImportError):
        yield "hessian-eigenthings, Lanczos as it comes", eigenthings(problem)
        yield "hessian-eigenthings, Lanczos of 50 steps", eigenthings(problem, max_iter=50)


def pyhessian(problem: Problem) -> Search:
    """Its eigenvalues are those of largest magnitude."""
    import pyhessian as package

    module: Any = sys.modules["pyhessian.hessian"]
    product, calls = module.hessian_vector_product, [0]

    def counted(*arguments: Any) -> Any:
        calls[0] += 1
        return product(*arguments)

    module.hessian_vector_product = counted

    def search() -> Found:
        calls[0] = 0
        torch.manual_seed(0)
        hessian = package.hessian(problem.model, problem.criterion, data=(problem.x, problem.y), cuda=False)
        values, _ = hessian.eigenvalues(top_n=K)
        return [float(value) for value in values], calls[0]

    return search


def curvlinops(problem: Problem) -> Search:
    """Its operator under SciPy's ARPACK."""
    import numpy as np
    from curvlinops import HessianLinearOperator
    from scipy.sparse.linalg import LinearOperator, eigsh

    def search() -> Found:
        data = [(problem.x, problem.y)]
        hessian = HessianLinearOperator(problem.model, problem.criterion, problem.parameters, data)
        operator, calls = hessian.to_scipy(), [0]

        def counted(vector: Any) -> Any:
            calls[0] += 1
            return operator @ vector

        wrapped = LinearOperator(operator.shape, matvec=counted, dtype=operator.dtype)
        start = np.random.default_rng(0).standard_normal(operator.shape[0]).astype(operator.dtype)
        values = eigsh(wrapped, k=K, which="LA", tol=1e-4, v0=start, return_eigenvectors=False)
        return [float(value) for value in values], calls[0]

    return search


def eigenthings(problem: Problem, max_iter: int | None = None) -> Search:
    """Its Lanczos iteration, which takes a number of steps and goes no further."""
    from hessian_eigenthings import HessianOperator, lanczos, supervised_loss

    def search() -> Found:
        data = [(problem.x, problem.y)]
        hessian = HessianOperator(problem.model, data, supervised_loss(problem.criterion))
        product, calls = hessian.matvec, [0]

        def counted(vector: torch.Tensor) -> torch.Tensor:
            calls[0] += 1
            return product(vector)

        hessian.matvec = counted
        found = lanczos(hessian, k=K, which="LA", max_iter=max_iter, seed=0)
        return [float(value) for value in found.eigenvalues], calls[0]

    return search


if __name__ == "__main__":
    main(Path(sys.argv[1]))
