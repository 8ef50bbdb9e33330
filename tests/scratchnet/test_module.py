"""The module: its parts and their names, its modes, its state, its copies, its listeners."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn
from scratchnet.hooks import Hooks
from scratchnet.tape import Array


class Scale(nn.Module):
    """y = k x."""

    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(np.array(factor, np.float32))

    def forward(self, x: Any) -> Any:
        return x * self.factor


class Network(nn.Module):
    """Parts at three depths; the scale stands behind the layers but is named first."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = Scale()
        self.layers = nn.Sequential(nn.Linear(3, 4, rng=0), nn.ReLU(), nn.Linear(4, 2, rng=1))
        self.offset = nn.Parameter(np.zeros(2, np.float32))

    def forward(self, x: Any) -> Any:
        return self.scale(self.layers(x)) + self.offset


NAMES = ["offset", "scale.factor", "layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"]


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - what this very process wrote


# ----------------------------------------------------------------------------------------------- parts


def test_parameters_are_named_by_dots_own_ones_first_then_depth_first() -> None:
    model = Network()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert [id(p) for p in model.parameters()] == [id(p) for _, p in model.named_parameters()]
    assert [name for name, _ in model.named_parameters(recurse=False)] == ["offset"]


def test_modules_are_named_by_dots_parents_first() -> None:
    names = ["", "scale", "layers", "layers.0", "layers.1", "layers.2"]
    assert [name for name, _ in Network().named_modules()] == names
    assert [name for name, _ in Network().named_modules(prefix="net")][:3] == [
        "net",
        "net.scale",
        "net.layers",
    ]
    assert [type(module) for module in Network().children()] == [Scale, nn.Sequential]


def test_a_shared_module_is_listed_once_but_saved_under_each_of_its_names() -> None:
    shared = nn.Linear(3, 3, rng=0)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert [name for name, _ in model.named_modules()] == ["", "0", "1"]
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert [name for name, _ in model.named_modules(remove_duplicate=False)] == ["", "0", "1", "2"]


def test_a_tied_parameter_is_listed_once_and_gets_both_gradients() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False, rng=0), nn.Linear(2, 2, bias=False, rng=1)).double()
    model[1].weight = model[0].weight  # type: ignore[attr-defined]
    assert len(list(model.parameters())) == 1
    (weight,) = model.parameters()
    assert sn.check_gradients(lambda: (model(np.ones((1, 2))) ** 2).sum(), [weight], rng=0) < 1e-8


def test_a_part_that_takes_another_s_place_keeps_its_position() -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.ReLU())
    setattr(model, "0", nn.Linear(3, 5, rng=0))
    assert [type(module) for module in model] == [nn.Linear, nn.ReLU]
    assert model(np.ones((1, 3))).shape == (1, 5)
    model[0].weight = nn.Parameter(np.zeros((5, 3), np.float32))
    assert list(model.state_dict()) == ["0.weight", "0.bias"]


@pytest.mark.parametrize("remove", [lambda m: setattr(m, "bias", None), lambda m: delattr(m, "bias")])
def test_a_part_that_is_taken_away_is_no_longer_a_parameter(remove: Callable[[Any], None]) -> None:
    layer = nn.Linear(2, 2)
    remove(layer)
    assert list(layer.state_dict()) == ["weight"]


def test_a_name_can_change_from_parameter_to_module_and_back() -> None:
    model = Scale()
    model.factor = nn.ReLU()  # type: ignore[assignment]
    assert (len(list(model.parameters())), len(list(model.children()))) == (0, 1)
    model.factor = nn.Parameter(np.ones(1))
    assert (len(list(model.parameters())), len(list(model.children()))) == (1, 0)


@pytest.mark.parametrize("part", [nn.Parameter(np.ones(1)), nn.ReLU()], ids=["parameter", "module"])
def test_a_part_before_the_constructor_of_module_is_refused(part: Any) -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.part = part

    with pytest.raises(
        AttributeError, match=r"Forgetful needs super\(\)\.__init__\(\) before .* part 'part'"
    ):
        Forgetful()


def test_a_module_without_forward_is_refused_when_it_is_called() -> None:
    with pytest.raises(TypeError, match="Module needs a forward method"):
        nn.Module()(1.0)


def test_its_text_shows_the_parts_indented() -> None:
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()))) == (
        "Sequential(\n  (0): Linear(2, 3, bias=True)\n  (1): Sequential(\n    (0): ReLU()\n  )\n)"
    )


# ------------------------------------------------------------------------------------ modes and dtypes


def test_train_and_eval_reach_every_module_and_return_the_model() -> None:
    model = Network()
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.train().modules())


def test_double_and_float_convert_every_parameter_and_forget_gradients() -> None:
    model = Network()
    model(np.ones((1, 3))).sum().backward()
    assert {p.dtype for p in model.double().parameters()} == {np.dtype(np.float64)}
    assert all(p.grad is None for p in model.parameters())
    assert model(np.ones((1, 3))).dtype == np.float64
    assert {p.dtype for p in model.float().parameters()} == {np.dtype(np.float32)}


def test_none_takes_a_buffer_away() -> None:
    layer = nn.BatchNorm1d(2)
    layer.running_mean = layer.running_var = None
    assert layer.running_mean is None
    assert list(dict(layer.named_buffers())) == ["num_batches_tracked"]


def test_zero_grad_leaves_none() -> None:
    model = Network()
    model(np.ones((1, 3))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_a_frozen_parameter_gets_no_gradient() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad = False
    layer(np.ones((1, 2))).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias is not None
    assert layer.bias.grad is not None


# ----------------------------------------------------------------------------------------------- state


def test_a_state_is_a_copy_and_travels_to_another_model() -> None:
    model, other = Network(), Network()
    state = {name: array + 1 for name, array in model.state_dict().items()}
    assert list(state) == NAMES
    model.state_dict()["offset"][...] = 9
    assert not model.offset.array.any()
    held = other.offset.array
    other.load_state_dict(state)
    assert other.offset.array is held
    assert all(np.array_equal(other.state_dict()[name], state[name]) for name in NAMES)


def test_a_state_of_tensors_in_another_dtype_keeps_the_model_s_dtype() -> None:
    model = Network()
    model.load_state_dict({k: sn.Tensor(v.astype(np.float64)) for k, v in Network().state_dict().items()})
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}


def without_the_offset(state: dict[str, Array]) -> None:
    del state["offset"]


def with_a_stranger(state: dict[str, Array]) -> None:
    state["stranger"] = np.ones(1)


def with_a_wrong_shape(state: dict[str, Array]) -> None:
    state["layers.2.bias"] = np.ones(3)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (without_the_offset, KeyError, r"missing: \['offset'\], unknown: none"),
        (with_a_stranger, KeyError, r"missing: none, unknown: \['stranger'\]"),
        (with_a_wrong_shape, ValueError, r"needs shape \(2,\) for 'layers\.2\.bias', got \(3,\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(
    spoil: Callable[[dict[str, Array]], None], error: type[Exception], message: str
) -> None:
    model = Network()
    before = model.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    spoil(state)
    with pytest.raises(error, match=message):
        model.load_state_dict(state)
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_a_copy_has_the_values_but_neither_the_arrays_nor_the_listeners(
    duplicate: Callable[[Any], Any],
) -> None:
    model, heard = Network(), []
    model.register_forward_hook(lambda *_: heard.append("forward"))
    model.layers[0].register_backward_hook(lambda *_: heard.append("backward"))
    model.offset.register_hook(lambda _: heard.append("gradient"))
    twin = duplicate(model)
    twin(np.ones((1, 3))).sum().backward()
    assert heard == []
    twin.offset.array += 1
    assert not model.offset.array.any()
    assert twin.offset is dict(twin.named_parameters())["offset"]
    model(np.ones((1, 3))).sum().backward()
    assert sorted(heard) == ["backward", "forward", "gradient"]


def test_a_copy_of_a_shared_module_shares_it_within_the_copy() -> None:
    shared = nn.Linear(2, 2)
    twin = copy.deepcopy(nn.Sequential(shared, shared))
    assert twin[0] is twin[1]
    assert twin[0] is not shared


# ------------------------------------------------------------------------------------------- listeners


def test_a_forward_hook_hears_module_inputs_and_output() -> None:
    model, heard = Network(), []
    model.scale.register_forward_hook(lambda *arguments: heard.append(arguments))
    output = model.scale(3.0)
    ((module, inputs, heard_output),) = heard
    assert (module, inputs) == (model.scale, (3.0,))
    assert heard_output is output


def test_a_backward_hook_hears_the_gradient_of_each_output() -> None:
    layer, heard = nn.Linear(3, 2, rng=0), []
    layer.register_backward_hook(lambda module, gradient: heard.append((module, gradient.copy())))
    x = np.ones((4, 3))
    (layer(x).sum() + (layer(x) * 2).sum()).backward()
    assert [module for module, _ in heard] == [layer, layer]
    assert sorted(float(gradient.mean()) for _, gradient in heard) == [1.0, 2.0]


def test_a_backward_hook_hears_nothing_of_what_is_not_recorded() -> None:
    layer = nn.Linear(3, 2)
    layer.register_backward_hook(lambda *_: pytest.fail("there is no way back"))
    with sn.no_grad():
        layer(np.ones((1, 3)))


def test_a_backward_hook_on_a_module_that_no_gradient_reaches_lets_the_network_run() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Linear(3, 2))
    model[0].register_backward_hook(lambda *_: pytest.fail("no gradient is wanted here"))
    model(np.ones((1, 3), np.float32)).sum().backward()


def test_a_backward_hook_on_a_module_that_gives_no_tensor_lets_the_network_run() -> None:
    class Named(Scale):
        def forward(self, x: Any) -> Any:
            return {"output": super().forward(x)}

    model = Named()
    model.register_backward_hook(lambda *_: None)
    model(np.ones(3))["output"].sum().backward()
    assert np.asarray(model.factor.grad).item() == 3


def test_a_removed_hook_is_not_told_even_of_a_pass_that_has_begun() -> None:
    layer, heard = nn.Linear(3, 2), []
    handle = layer.register_backward_hook(lambda *_: heard.append(1))
    loss = layer(np.ones((1, 3))).sum()
    handle.remove()
    loss.backward()
    assert heard == []


def test_a_model_without_listeners_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Network()
    optimizer = sn.optim.SGD(model.parameters(), lr=0.1)
    monkeypatch.setattr(Hooks, "__call__", lambda *_: pytest.fail("nobody listens"))
    monkeypatch.setattr(sn.Tensor, "register_hook", lambda *_: pytest.fail("nobody listens"))
    model(np.ones((1, 3))).sum().backward()
    optimizer.step()
