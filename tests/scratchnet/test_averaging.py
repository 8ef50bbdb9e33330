"""Averages of weights: their law, PyTorch's, buffers, states."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnet as sn
from scratchnet import nn, optim
from scratchnet.tape import Array


class Counting(nn.Module):
    """A layer with a running value, as a normalisation has."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2, rng=0)
        self.running: Array
        self.register_buffer("running", np.zeros(2, np.float32))

    def forward(self, x: Any) -> Any:
        """See the class."""
        if self.training:
            self.running = self.running + 1
        return self.linear(x)


def move(model: nn.Module, rng: np.random.Generator) -> None:
    for parameter in model.parameters():
        parameter.array[...] += rng.normal(0, 0.1, parameter.shape)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-13), ("float32", 2e-6)])
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.999, 1.0])
def test_an_average_is_pytorch_s_over_fifty_updates(
    dtype: str, rtol: float, decay: float, rng: np.random.Generator
) -> None:
    torch = pytest.importorskip("torch")
    swa = pytest.importorskip("torch.optim.swa_utils")
    model = nn.Sequential(nn.Linear(4, 5, rng=0), nn.Tanh(), nn.Linear(5, 2, rng=1))
    twin = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
    if dtype == "float64":
        model.double()
        twin.double()
    average = optim.EMA(model, decay)
    theirs = swa.AveragedModel(twin, multi_avg_fn=swa.get_ema_multi_avg_fn(decay))
    for _ in range(50):
        move(model, rng)
        twin.load_state_dict({name: torch.tensor(array) for name, array in model.state_dict().items()})
        average.update()
        theirs.update_parameters(twin)
    state = theirs.state_dict()
    ours = average.state_dict()
    assert ours.keys() == state.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(array, state[name].numpy(), rtol=rtol, atol=rtol / 10)
        assert name == "n_averaged" or array.dtype == dtype


@given(st.floats(0, 1), st.lists(st.floats(-10, 10), min_size=1, max_size=8))
def test_an_average_is_the_sum_that_its_recursion_says(decay: float, values: list[float]) -> None:
    model = nn.Linear(1, 1, bias=False, rng=0).double()
    average = optim.EMA(model, decay)
    for value in values:
        model.weight.array[...] = value
        average.update()
    age = np.arange(len(values))[::-1]
    shares = (1 - decay) * decay**age
    shares[0] = decay ** age[0]
    assert shares.sum() == pytest.approx(1.0)
    assert average.model.weight.numpy().item() == pytest.approx(shares @ values, abs=1e-12)


def test_the_first_update_copies() -> None:
    model = nn.Linear(3, 2, rng=0)
    average = optim.EMA(model, decay=0.999)
    model.weight.array[...] = 7
    average.update()
    assert np.all(average.model.weight.numpy() == 7)


def test_a_copy_has_no_gradients_to_pay_for() -> None:
    model = nn.Linear(3, 2, rng=0)
    model(np.ones(3)).sum().backward()
    average = optim.EMA(model)
    assert model.weight.grad is not None
    assert average.model.weight.grad is None


def test_buffers_are_copied_and_the_copy_stands_in_evaluation_mode() -> None:
    model = Counting()
    average = optim.EMA(model, decay=0.9)
    assert model.training
    assert not any(module.training for module in average.model.modules())
    for count in range(1, 4):
        model(np.ones((1, 3)))
        average.update()
        average.model(np.ones((1, 3)))
        np.testing.assert_array_equal(average.model.running, [count, count])
    model(np.ones((1, 3)))
    np.testing.assert_array_equal(average.model.running, [3, 3])


def test_an_average_follows_training_without_touching_it() -> None:
    def train(averaged: bool) -> tuple[nn.Module, optim.EMA[nn.Sequential] | None]:
        model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 1, rng=1))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        average = optim.EMA(model, decay=0.5) if averaged else None
        x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
        for _ in range(20):
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()
            if average is not None:
                average.update()
        return model, average

    plain, _ = train(averaged=False)
    model, average = train(averaged=True)
    for name, array in plain.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[name])
    assert average is not None
    assert average.n_averaged == 20
    assert all(parameter.grad is None for parameter in average.model.parameters())
    for parameter, averaged in zip(model.parameters(), average.model.parameters(), strict=True):
        assert not np.shares_memory(parameter.array, averaged.array)
        assert 0 < np.abs(parameter.numpy() - averaged.numpy()).max() < 0.1


def test_a_loaded_average_goes_on_where_the_saved_one_stood(rng: np.random.Generator) -> None:
    model = Counting()
    whole = optim.EMA(model, decay=0.9)
    for _ in range(3):
        move(model, rng)
        whole.update()
    later = optim.EMA(model, decay=0.9)
    later.load_state_dict(whole.state_dict())
    move(model, rng)
    for average in (whole, later):
        average.update()
    for name, array in whole.state_dict().items():
        np.testing.assert_array_equal(array, later.state_dict()[name])


def test_a_state_of_pytorch_s_is_taken() -> None:
    torch = pytest.importorskip("torch")
    swa = pytest.importorskip("torch.optim.swa_utils")
    theirs = swa.AveragedModel(torch.nn.Linear(3, 2), multi_avg_fn=swa.get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(torch.nn.Linear(3, 2))
    average = optim.EMA(nn.Linear(3, 2), decay=0.9)
    average.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    assert average.n_averaged == 1
    np.testing.assert_array_equal(average.model.weight.numpy(), theirs.module.weight.detach().numpy())


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a decay above one": (
        lambda: optim.EMA(nn.Linear(1, 1), 1.5),
        ValueError,
        r"EMA needs decay in \[0, 1\], got decay=1.5",
    ),
    "a decay that is no number": (
        lambda: optim.EMA(nn.Linear(1, 1), float("nan")),
        ValueError,
        "got decay=nan",
    ),
    "a model's state": (
        lambda: optim.EMA(nn.Linear(1, 1)).load_state_dict(nn.Linear(1, 1).state_dict()),
        KeyError,
        r"needs a state with .*n_averaged.*, got .*bias",
    ),
}


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_be_averaged_is_refused(
    call: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    average = optim.EMA(nn.Linear(3, 2, rng=0))
    before = average.state_dict()
    with pytest.raises(ValueError, match="needs shape"):
        average.load_state_dict({**before, "n_averaged": np.array(5), "module.weight": np.zeros((2, 2))})
    assert average.n_averaged == 0
    np.testing.assert_array_equal(average.model.state_dict()["weight"], before["module.weight"])


def test_the_average_is_a_model_like_any_other() -> None:
    model = nn.Linear(3, 2, rng=0)
    average = optim.EMA(model)
    average.update()
    with sn.no_grad():
        np.testing.assert_array_equal(average.model(np.ones(3)).numpy(), model(np.ones(3)).numpy())
