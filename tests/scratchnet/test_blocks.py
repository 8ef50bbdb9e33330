"""Every block of `scratchnet.nn`, in one table, beside its PyTorch twin: a block without a case fails here."""

import importlib
import itertools
import pkgutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
import tests.scratchnet.blocks as table
from scratchnet import nn
from scratchnet.tape import Array
from tests.scratchnet.blocks.contract import Case

# Containers and what others are made of: they compute nothing themselves, and have tests of their own.
WITHOUT_A_CASE = {"Module", "ModuleDict", "ModuleList", "Parameter", "ParameterList"}
EXAMPLES = 3


def _cases() -> Iterator[Case]:
    for found in pkgutil.iter_modules(table.__path__):
        yield from getattr(importlib.import_module(f"{table.__name__}.{found.name}"), "CASES", ())


CASES = list(_cases())
CASES_AND_MODES = [(case, mode) for case in CASES for mode in case.modes]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
every_mode = pytest.mark.parametrize(
    ("case", "mode"), CASES_AND_MODES, ids=[f"{case.id}-{mode}" for case, mode in CASES_AND_MODES]
)


@pytest.fixture(autouse=True)
def _same_weights_at_every_run(monkeypatch) -> None:
    # The cases ask for fresh entropy, as a user does; with some draws a derivative is zero but for rounding.
    make, seeds = np.random.default_rng, itertools.count(1)
    monkeypatch.setattr(
        np.random, "default_rng", lambda seed=None: make(next(seeds) if seed is None else seed)
    )


def test_every_block_has_a_case_and_every_case_a_name_of_its_own() -> None:
    blocks = {name for name, value in vars(nn).items() if isinstance(value, type)} - WITHOUT_A_CASE
    assert {case.block for case in CASES} == blocks
    assert len({case.id for case in CASES}) == len(CASES)


# -------------------------------------------------------------------------------------- both sides


class Side:
    """A block in one library, on the case's inputs; what is compared is asked of both sides alike."""

    def __init__(self, case: Case, block: Any, mode: str, inputs: Sequence[Any], library: Any) -> None:
        self.block = block.train(mode == "train")
        self.inputs = inputs
        self.library = library
        self._call = case.call
        self.leaves = [x for x in inputs if x.requires_grad]
        self.leaves += [p for p in block.parameters() if p.requires_grad]

    def outputs(self) -> list[Any]:
        """What the block gives, as a list of tensors."""
        given = self._call(self.block, *self.inputs)
        return [y for y in _flat(given) if y is not None]

    def loss(self) -> Any:
        """A scalar in which every output counts, and which curves even where the block does not."""
        return sum(
            (y * (y * 0.5 + self.library(normal_like(y, number)))).sum()
            for number, y in enumerate(self.outputs())
            if "float" in str(y.dtype)
        )

    def gradients(self) -> list[Array | None]:
        """Of the loss, with respect to every input and parameter."""
        for leaf in self.leaves:
            leaf.grad = None
        self.loss().backward()
        return [None if leaf.grad is None else as_array(leaf.grad) for leaf in self.leaves]

    def vectors(self) -> list[Array]:
        """A direction for the Hessian."""
        return [normal_like(leaf, 100 + number) for number, leaf in enumerate(self.leaves)]

    def state(self) -> dict[str, Array]:
        """Parameters and buffers."""
        return {name: as_array(value) for name, value in self.block.state_dict().items()}


def _flat(given: Any) -> Iterator[Any]:
    if isinstance(given, tuple | list):
        for part in given:
            yield from _flat(part)
    else:
        yield given


def normal_like(tensor: Any, seed: int) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(tuple(tensor.shape)))


def as_array(tensor: Any) -> Array:
    return np.array(tensor.detach().numpy() if hasattr(tensor, "detach") else tensor)


def ours(case: Case, mode: str = "train", batch: int = EXAMPLES, dtype: type = float) -> Side:
    block = case.make(nn)
    block = block.double() if dtype is float else block
    inputs = [_tensor(x, dtype) for x in case.inputs(batch)]
    return Side(case, block, mode, inputs, lambda array: sn.Tensor(array.astype(dtype)))


def _tensor(x: Array, dtype: type) -> sn.Tensor:
    return sn.Tensor(x.astype(dtype), requires_grad=True) if x.dtype.kind == "f" else sn.Tensor(x)


def theirs(case: Case, mode: str = "train", batch: int = EXAMPLES) -> Side:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    block = (case.twin or case.make)(torch.nn).double()
    _move(torch, block)
    inputs = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in case.inputs(batch)]
    return Side(case, block, mode, inputs, torch.as_tensor)


def _move(torch: Any, block: Any) -> None:
    """Puts numbers into whatever starts at zero or one, for such weights hide mistakes."""
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.1 * torch.randn_like(parameter)


def pair(case: Case, mode: str, batch: int = EXAMPLES) -> tuple[Side, Side]:
    """Both sides with the same weights, those of PyTorch."""
    mine, other = ours(case, mode, batch), theirs(case, mode, batch)
    mine.block.load_state_dict(other.state())
    return mine, other


def assert_close(mine: Array, other: Array, tolerance: float, what: str) -> None:
    """Relative to the largest entry."""
    assert mine.shape == other.shape, what
    if other.size:
        assert np.isfinite(other).all(), what
        error = np.abs(mine - other).max() / max(np.abs(other).max(), 1e-3)
        assert error <= tolerance, f"{what}: relative error {error:.2g}"


def assert_all_close(mine: Sequence[Any], other: Sequence[Any], tolerance: float, what: str) -> None:
    for number, (a, b) in enumerate(zip(mine, other, strict=True)):
        if b is None or a is None:
            # PyTorch gives None, or zeros, for what an output does not depend on; so may we.
            assert not np.any(0 if a is None else a), f"{what} {number}"
            assert not np.any(0 if b is None else b), f"{what} {number}"
        else:
            assert_close(as_array(a), as_array(b), tolerance, f"{what} {number}")


# ------------------------------------------------------------------------------------------ equal


@every_mode
def test_outputs_and_all_gradients_equal_those_of_pytorch(case: Case, mode: str) -> None:
    mine, other = pair(case, mode)
    assert_all_close(mine.outputs(), other.outputs(), 1e-10, "output")
    assert_all_close(mine.gradients(), other.gradients(), 1e-10, "gradient")


@every_mode
def test_the_state_has_the_names_and_shapes_of_pytorch_s_and_travels_both_ways(case: Case, mode: str) -> None:
    torch = pytest.importorskip("torch")
    mine, other = pair(case, mode)
    # Once through, so that running statistics have moved, equally on both sides.
    mine.outputs()
    other.outputs()
    assert list(mine.state()) == list(other.state())
    for name, array in other.state().items():
        assert mine.state()[name].dtype == array.dtype, name
        assert_close(mine.state()[name], array, 1e-10, name)
    other.block.load_state_dict({name: torch.as_tensor(array) for name, array in mine.state().items()})
    assert_all_close(mine.outputs(), other.outputs(), 1e-10, "output")


@every_mode
def test_hessian_vector_products_equal_those_of_pytorch(case: Case, mode: str) -> None:
    if case.hessian != "torch":
        pytest.skip("PyTorch has no second derivative here; differences are asked below")
    torch = pytest.importorskip("torch")
    mine, other = pair(case, mode)
    vectors = mine.vectors()
    products = sn.hvp(mine.loss, mine.leaves, vectors)
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        slopes = torch.autograd.grad(other.loss(), other.leaves, create_graph=True, allow_unused=True)
    slope = sum((g * torch.as_tensor(v)).sum() for g, v in zip(slopes, vectors, strict=True) if g is not None)
    wanted = torch.autograd.grad(slope, other.leaves, allow_unused=True)
    assert_all_close(products, wanted, 1e-9, "product")


@pytest.mark.parametrize("case", [c for c in CASES if c.hessian != "none"], ids=lambda case: case.id)
def test_both_derivatives_agree_with_central_differences(case: Case) -> None:
    side = ours(case, case.modes[-1])
    # Without PyTorch's weights, so that this holds on a machine without it.
    rng = np.random.default_rng(5)
    for parameter in side.block.parameters():
        parameter.array[...] += 0.1 * rng.standard_normal(parameter.shape)
    sn.check_gradients(side.loss, side.leaves, order=2, rng=6, tolerance=1e-5)


@every_case
def test_two_independent_ways_to_the_hessian_agree(case: Case) -> None:
    side = ours(case, case.modes[0])
    vectors = side.vectors()
    backwards = sn.hvp(side.loss, side.leaves, vectors)
    assert_all_close(sn.forward_hvp(side.loss, side.leaves, vectors), backwards, 1e-9, "product")


@every_mode
def test_float32_stays_float32_and_close(case: Case, mode: str) -> None:
    mine, exact = ours(case, mode, dtype=np.float32), ours(case, mode)
    exact.block.load_state_dict(mine.state())
    outputs = mine.outputs()
    assert {y.dtype for y in outputs if y.dtype.kind == "f"} <= {np.dtype(np.float32)}
    assert_all_close(outputs, exact.outputs(), 1e-4, "output")
    gradients = mine.gradients()
    assert {g.dtype for g in gradients if g is not None} <= {np.dtype(np.float32)}
    assert_all_close(gradients, exact.gradients(), 1e-4, "gradient")


UNUSUAL = [(case, mode, batch) for case, mode in CASES_AND_MODES for batch in case.batches]


@pytest.mark.parametrize(
    ("case", "mode", "batch"), UNUSUAL, ids=[f"{case.id}-{mode}-{batch}" for case, mode, batch in UNUSUAL]
)
@pytest.mark.filterwarnings("ignore:.*zero-element.*")
def test_one_example_and_none_give_pytorch_s_answer_or_a_clear_error(
    case: Case, mode: str, batch: int
) -> None:
    mine, other = pair(case, mode, batch)
    answer, error = _outcome(other)
    given, refusal = _outcome(mine)
    if refusal is not None:
        assert isinstance(refusal, ValueError), refusal
        assert len(str(refusal)) > 20
        assert batch == 0 or error is not None, f"PyTorch has an answer, we refuse: {refusal}"
    elif error is None:
        for a, b in zip(given, answer, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    else:
        assert batch == 0, f"PyTorch refuses ({error}), we do not"


def _outcome(side: Side) -> tuple[list[Array], Exception | None]:
    try:
        return [as_array(y) for y in side.outputs()], None
    except (ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
        return [], error


# ------------------------------------------------------------------------------------------ heard


@every_case
def test_the_hooks_hear_its_output_and_its_output_s_gradient(case: Case) -> None:
    side = ours(case, case.modes[0])
    heard: dict[str, Any] = {}
    side.block.register_forward_hook(lambda block, _inputs, output: heard.update(forward=(block, output)))
    side.block.register_backward_hook(lambda block, gradient: heard.update(backward=(block, gradient)))
    loss = side.loss()
    speaker, output = heard["forward"]
    assert speaker is side.block
    first = next(_flat(output))
    if loss.requires_grad:
        loss.backward()
        speaker, gradient = heard["backward"]
        assert speaker is side.block
        assert gradient.shape == first.shape


@every_case
def test_no_input_is_written_into(case: Case) -> None:
    side = ours(case, case.modes[0])
    for x in side.inputs:
        x.array.flags.writeable = False
    # A write would raise.
    side.gradients()
