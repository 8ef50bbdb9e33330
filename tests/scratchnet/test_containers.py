"""Containers: how their parts are named, ordered and exchanged; the table has what they compute."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn


def linear(size: int = 2) -> nn.Linear:
    return nn.Linear(size, size, rng=size)


NUMBERED: dict[str, Callable[[list[nn.Module]], Any]] = {
    "Sequential": lambda parts: nn.Sequential(*parts),
    "ModuleList": lambda parts: nn.ModuleList(parts),
}
every_numbered = pytest.mark.parametrize("make", NUMBERED.values(), ids=NUMBERED)


# ----------------------------------------------------------------------------- Sequential, ModuleList


@every_numbered
def test_parts_are_named_by_position_and_found_by_it(make: Any) -> None:
    parts = [linear(), nn.ReLU(), linear()]
    container = make(parts)
    assert list(container) == parts
    assert (container[0], container[-1], len(container)) == (parts[0], parts[2], 3)
    assert list(container.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


@every_numbered
def test_append_extend_and_insert_give_back_the_container(make: Any) -> None:
    a, b, c, d, e = (linear(size) for size in range(1, 6))
    container = make([a, b])
    assert container.append(c).extend([d]).insert(1, e) is container
    assert list(container) == [a, e, b, c, d]
    assert [name for name, _ in container.named_modules()] == ["", "0", "1", "2", "3", "4"]


@every_numbered
def test_a_part_may_be_replaced_or_taken_out(make: Any) -> None:
    a, b, c, d = (linear(size) for size in range(1, 5))
    container = make([a, b, c])
    container[1] = d
    assert list(container) == [a, d, c]
    del container[0]
    assert list(container) == [d, c]
    assert list(container.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    del container[:]
    assert list(container.state_dict()) == []


@every_numbered
def test_a_copy_shares_nothing(make: Any) -> None:
    container = make([linear(), linear()])
    twin = copy.deepcopy(container)
    twin[0].weight.array[...] = 7
    assert not (container[0].weight.numpy() == 7).any()


def test_a_slice_of_a_sequential_shares_its_parts_and_keeps_their_names() -> None:
    whole = nn.Sequential(linear(), nn.Tanh(), linear(3))
    part = whole[1:]
    assert isinstance(part, nn.Sequential)
    assert list(part) == [whole[1], whole[2]]
    assert list(part.state_dict()) == ["2.weight", "2.bias"]
    assert isinstance(nn.Residual(nn.ReLU(), nn.Tanh())[:1], nn.Residual)


def test_a_slice_of_a_module_list_is_numbered_anew() -> None:
    part = nn.ModuleList([linear(), linear(3)])[1:]
    assert isinstance(part, nn.ModuleList)
    assert list(part.state_dict()) == ["0.weight", "0.bias"]


def test_a_sequential_may_name_its_parts() -> None:
    model = nn.Sequential(OrderedDict([("encoder", linear()), ("decoder", linear())]))
    assert list(model.state_dict()) == ["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"]
    assert model[1] is model.decoder  # type: ignore[attr-defined]


# -------------------------------------------------------------------------------------------- others


def test_a_residual_block_adds_its_input() -> None:
    x = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    block = nn.Residual(linear(), nn.Tanh())
    np.testing.assert_allclose(block(x).numpy(), x + block[:][0](x).tanh().numpy(), rtol=1e-6)


def test_the_gradient_passes_a_residual_block_that_gives_nothing() -> None:
    layer = linear()
    for parameter in layer.parameters():
        parameter.array[...] = 0
    x = sn.Tensor(np.ones((1, 2), np.float32), requires_grad=True)
    nn.Sequential(*[nn.Residual(layer) for _ in range(50)])(x).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), 1)


def test_a_module_dict_is_a_dictionary_in_order() -> None:
    heads = nn.ModuleDict({"mean": linear(), "scale": linear()})
    heads["shift"] = linear()
    heads["mean"] = first = linear(3)
    assert list(heads) == list(heads.keys()) == ["mean", "scale", "shift"]
    assert heads["mean"] is first is next(iter(heads.values()))
    assert dict(heads.items())["scale"] is heads["scale"]
    assert (len(heads), "scale" in heads, "other" in heads) == (3, True, False)
    assert list(heads.state_dict())[:2] == ["mean.weight", "mean.bias"]
    assert heads.pop("mean") is first
    del heads["scale"]
    assert list(heads) == ["shift"]
    heads.update([("again", linear())])
    assert list(heads) == ["shift", "again"]


def test_a_parameter_list_belongs_to_the_model() -> None:
    parameters = [nn.Parameter(np.full(2, float(value))) for value in range(3)]
    container = nn.ParameterList(parameters[:2]).append(parameters[2])
    assert list(container) == list(container.parameters()) == parameters
    assert (len(container), container[-1]) == (3, parameters[2])
    assert list(container.state_dict()) == ["0", "1", "2"]


def test_identity_gives_back_the_tensor_itself() -> None:
    x = sn.Tensor(np.ones(2))
    assert nn.Identity()(x) is x


def test_the_names_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")

    def build(library: Any) -> Any:
        lists = library.ModuleList([library.Linear(2, 2), library.Linear(2, 2)]).insert(0, library.ReLU())
        if library is torch.nn:
            # PyTorch's list returns nothing from insert.
            lists = library.ModuleList([library.ReLU(), library.Linear(2, 2), library.Linear(2, 2)])
        return library.ModuleDict(
            {
                "list": lists,
                "chain": library.Sequential(library.Linear(2, 3), library.Tanh()).append(
                    library.Linear(3, 1)
                ),
                "end": library.Sequential(library.Linear(2, 3), library.Tanh(), library.Linear(3, 1))[2:],
            }
        )

    assert list(build(nn).state_dict()) == list(build(torch.nn).state_dict())


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no module": (
        lambda: nn.ModuleList([nn.ReLU(), 3]),  # type: ignore[list-item]
        TypeError,
        "ModuleList needs modules, got int at position 1",
    ),
    "no module to insert": (
        lambda: nn.Sequential().insert(0, None),  # type: ignore[arg-type]
        TypeError,
        "Sequential needs modules, got NoneType at position 0",
    ),
    "no module to set": (
        lambda: nn.Sequential(nn.ReLU()).__setitem__(0, np.tanh),  # type: ignore[assignment]
        TypeError,
        "Sequential needs modules, got ufunc at position 0",
    ),
    "no module in a dictionary": (
        lambda: nn.ModuleDict({"a": 1}),  # type: ignore[arg-type]
        TypeError,
        "ModuleDict needs modules, got int for 'a'",
    ),
    "a position too far": (
        lambda: nn.Sequential(nn.ReLU())[1],
        IndexError,
        "Sequential has modules at 0 to 0, got 1",
    ),
    "a name that is a method": (
        lambda: nn.ModuleDict({"keys": nn.ReLU()}),
        ValueError,
        "ModuleDict needs names that are not empty, have no dot and are no attribute of it, got 'keys'",
    ),
    "a name with a dot": (lambda: nn.Sequential({"a.b": nn.ReLU()}), ValueError, r"got 'a\.b'"),
    "a taken name": (
        lambda: nn.Sequential(nn.ReLU(), nn.ReLU())[1:].append(nn.Tanh()),
        ValueError,
        "Sequential needs names that .* got '1'",
    ),
    "no parameter": (
        lambda: nn.ParameterList([np.ones(2)]),  # type: ignore[list-item]
        TypeError,
        r"ParameterList needs parameters, got ndarray at position 0; wrap it in nn\.Parameter",
    ),
    "a residual of another shape": (
        lambda: nn.Residual(nn.Linear(2, 3))(np.ones((4, 2))),
        ValueError,
        r"Residual needs modules that keep the shape, got \(4, 3\) from \(4, 2\)",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
