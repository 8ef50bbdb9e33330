"""The capture of PyTorch: which hooks sit where, what is described, and what is turned away."""

from typing import Any
from weakref import ref

import pytest

import diag
import probes
from diag.capture import open_capture

torch = pytest.importorskip("torch")
from tests.diag.capture import torch_traps as traps  # noqa: E402  torch is needed to define them
from tests.diag.capture.heard import Heard, listening  # noqa: E402

nn = torch.nn
NAMES = ("0.weight", "0.bias", "2.weight", "2.bias")


def hooks_of(model, optimizer):
    on_modules = [
        hook
        for module in model.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        for hook in hooks
    ]
    on_steps = [*optimizer._optimizer_step_pre_hooks, *optimizer._optimizer_step_post_hooks]
    on_parameters = [hook for p in model.parameters() for hook in (p._post_accumulate_grad_hooks or {})]
    return on_modules, on_steps, on_parameters


def test_the_arrays_are_the_models_own_numbers():
    model = traps.mlp()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters())
    heard = listening(model, optimizer)
    traps.train(model, optimizer, steps=1)
    for name, weight, gradient, moved in zip(
        NAMES, heard.arrays("weight"), heard.arrays("gradient"), heard.arrays("moved_weight"), strict=True
    ):
        assert torch.equal(weight, before[name])
        assert torch.equal(gradient, model.get_parameter(name).grad)
        assert torch.equal(moved, model.get_parameter(name))


REPLACED = {
    "other numbers": lambda parameter: parameter.data.clone(),
    "fewer of the same": lambda parameter: parameter.data[:1],
    "another type": lambda parameter: parameter.data.double(),
}


@pytest.mark.parametrize("replace", REPLACED.values(), ids=REPLACED)
def test_weights_that_are_replaced_between_steps_are_heard_as_they_are_then(replace):
    parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
    model = nn.Module()
    model.weight = parameter
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    heard = listening(model, optimizer)
    for step in range(3):
        if step == 1:
            parameter.data = replace(parameter) * (3 if step == 1 else 1)
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        assert torch.equal(heard.arrays("moved_weight")[0], parameter)
        assert torch.equal(heard.arrays("weight")[0] - 1, parameter)
        heard.events.clear()


def test_while_nobody_listens_no_module_and_no_parameter_holds_a_hook_and_steps_are_still_signalled():
    model = traps.mlp()
    optimizer = traps.sgd(model)
    heard = Heard(model, optimizer)
    traps.train(model, optimizer, steps=1)
    on_modules, _, on_parameters = hooks_of(model, optimizer)
    assert on_modules == on_parameters == []
    assert heard.events == []
    assert heard.signals == ["before", "after"]


@pytest.mark.parametrize("is_compiled", [False, True], ids=["eager", "compiled"])
def test_closing_leaves_no_trace(is_compiled):
    model = traps.mlp()
    optimizer = traps.sgd(model)
    attributes = set(vars(optimizer))
    watched = torch.compile(model, backend="eager") if is_compiled else model
    heard = listening(watched, optimizer, nn.CrossEntropyLoss())
    traps.train(model, optimizer, steps=1)
    heard.capture.close()
    assert hooks_of(model, optimizer) == ([], [], [])
    assert set(vars(optimizer)) == attributes
    count = len(heard.events)
    traps.train(model, optimizer, steps=1)
    assert len(heard.events) == count


def test_nothing_stays_alive_of_what_was_heard():
    model = traps.mlp()
    optimizer = traps.sgd(model)
    outputs: list[Any] = []
    model[0].register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    capture = open_capture(
        model,
        optimizer,
        None,
        name="",
        hear=lambda _: None,
        before_step=lambda _: None,
        after_step=lambda _: None,
        tell=lambda *_: None,
        work=diag.guard.Guard(lambda *_: None),
        wants=frozenset({"output_gradient"}),
    )
    capture.listening = True
    traps.train(model, optimizer, steps=1)
    alive = ref(outputs.pop())
    assert alive() is None


def test_output_gradients_are_told_only_to_who_eats_them():
    kinds = []
    for wants in (frozenset[str](), frozenset({"output_gradient"})):
        model = traps.mlp()
        optimizer = traps.sgd(model)
        heard = listening(model, optimizer, wants=wants)
        traps.train(model, optimizer, steps=1)
        kinds.append([subject for kind, subject, _ in heard.events if kind == "output_gradient"])
    assert kinds == [[], ["2", "1", "0"]]


def test_a_probe_of_the_users_own_gets_tensors(tmp_path):
    @probes.probe(unit="1", eats="output_gradient", cost="cheap", source="this test")
    def largest_gradient(output_gradient):
        """The largest entry."""
        assert isinstance(output_gradient, torch.Tensor)
        return output_gradient.abs().max()

    with diag.Recorder(tmp_path / "run", every=1, probes=[largest_gradient]) as recorder:
        traps.plain(recorder.watch)
    assert (diag.Log(tmp_path / "run").series("largest_gradient").values > 0).all()


def test_layers_and_parameters_are_described():
    model = traps.mlp()
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.5)
    heard = listening(model, optimizer, name="critic")
    model(traps.X)
    capture = heard.capture
    assert [(layer.name, layer.kind, layer.output_shape) for layer in capture.layers] == [
        ("critic.0", "Linear", (5,)),
        ("critic.1", "ReLU", (5,)),
        ("critic.2", "Linear", (3,)),
    ]
    assert [(p.name, p.is_trained) for p in capture.parameters] == [
        ("critic.0.weight", False),
        ("critic.0.bias", False),
        ("critic.2.weight", True),
        ("critic.2.bias", True),
    ]
    assert not any(p.is_uniform for p in capture.parameters)
    with torch.no_grad():
        model[0].bias.fill_(1.0)
    assert [p.is_uniform for p in capture.parameters] == [False, True, False, False]
    assert capture.optimizer.kind == "SGD"
    assert capture.optimizer.hyperparameters["lr"] == 0.5


def test_what_torch_puts_around_a_module_is_no_part_of_its_name():
    inner = torch.compile(nn.Linear(6, 3).double(), backend="eager")
    model = torch.compile(nn.Sequential(inner, nn.ReLU()), backend="eager")
    capture = Heard(model, traps.sgd(model)).capture
    assert [layer.name for layer in capture.layers] == ["0", "1"]
    assert [parameter.name for parameter in capture.parameters] == ["0.weight", "0.bias"]


def test_a_model_that_is_one_layer_goes_by_its_kind():
    model = nn.Linear(2, 2)
    assert [layer.name for layer in Heard(model, traps.sgd(model)).capture.layers] == ["Linear"]


def test_named_inputs_of_the_network_are_heard():
    class Named(nn.Linear):  # type: ignore[misc, name-defined]
        def forward(self, *, x):
            return super().forward(x)

    model = Named(6, 3).double()
    heard = listening(model, traps.sgd(model))
    model(x=traps.X)
    assert torch.equal(heard.arrays("input"), traps.X)


def test_watch_begins_a_run_of_its_own(tmp_path):
    model = traps.mlp()
    optimizer = traps.sgd(model)
    recorder = diag.watch(model, optimizer, tmp_path / "run", every=2)
    traps.train(model, optimizer)
    recorder.close()
    assert diag.Log(tmp_path / "run").steps.tolist() == [0, 2]


class TestBadInput:
    def test_a_thing_that_is_no_module(self):
        with pytest.raises(TypeError, match=r"watch needs a model of scratchnet or torch, got torch.Tensor"):
            open_capture(torch.zeros(2), None, None)

    def test_an_optimizer_of_the_other_framework(self):
        import scratchnet as sn

        optimizer = sn.optim.SGD(sn.nn.Linear(2, 2, rng=0).parameters())
        with pytest.raises(TypeError, match=r"watch needs an optimizer of torch.*got scratchnet.optim"):
            open_capture(traps.mlp(), optimizer, None)

    def test_an_optimizer_of_another_model(self):
        with pytest.raises(ValueError, match=r"needs an optimizer that moves the model's parameters"):
            open_capture(traps.mlp(), traps.sgd(traps.mlp()), None)

    def test_a_criterion_that_is_a_function(self):
        model = traps.mlp()
        with pytest.raises(TypeError, match=r"watch needs a criterion of torch"):
            open_capture(model, traps.sgd(model), nn.functional.cross_entropy)

    def test_a_model_already_watched(self, tmp_path):
        model = traps.mlp()
        with diag.Recorder(tmp_path / "run") as recorder:
            recorder.watch(model, traps.sgd(model))
            with pytest.raises(ValueError, match=r"watch needs a model that is not watched yet"):
                recorder.watch(model, traps.sgd(model), name="again")

    def test_replicas_on_several_devices(self):
        model = traps.mlp()
        with pytest.raises(ValueError, match=r"without nn.DataParallel.*use DistributedDataParallel"):
            Heard(nn.DataParallel(model), traps.sgd(model))

    def test_a_model_split_over_devices(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))
        with pytest.raises(ValueError, match=r"needs a model on one device, got one on cpu and meta"):
            Heard(model, traps.sgd(model))

    def test_a_lazy_layer_that_does_not_know_its_shape(self):
        model = nn.Sequential(nn.LazyLinear(2), nn.Linear(2, 2))
        with pytest.raises(
            ValueError, match=r"lazy layers know their shapes; run one batch through it first"
        ):
            Heard(model, traps.sgd(model))
