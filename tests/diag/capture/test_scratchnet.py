"""The capture of scratchnet: which events, in which order, and without a trace."""

import numpy as np
import pytest

import scratchnet as sn
from diag.capture import open_capture
from scratchnet import nn, optim
from tests.diag.capture.heard import Heard


@pytest.fixture
def net():
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 4, rng=0), nn.ReLU()), nn.Linear(4, 2, rng=1))
    return model, optim.SGD(model.parameters(), lr=0.5), nn.CrossEntropyLoss()


def train(model, optimizer, criterion):
    loss = criterion(model(np.ones((5, 3))), np.array([0, 1, 0, 1, 0]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


NAMES = ("0.0.weight", "0.0.bias", "1.weight", "1.bias")


def test_the_events_of_a_step_come_in_order(net):
    heard = Heard(net[0], net[1], net[2], wants=frozenset({"output_gradient"}))
    heard.capture.listening = True
    train(*net)
    assert heard.order() == [
        ("activation", "0.0"),
        ("activation", "0.1"),
        ("activation", "1"),
        ("input", ""),
        ("prediction", ""),
        ("target", ""),
        ("loss", ""),
        ("output_gradient", "1"),
        ("output_gradient", "0.1"),
        ("output_gradient", "0.0"),
        ("weight", NAMES),
        ("gradient", NAMES),
        ("moved_weight", NAMES),
    ]
    assert heard.signals == ["before", "after"]


def test_the_arrays_are_the_models_own_numbers(net):
    before = net[0].state_dict()
    model, optimizer, criterion = net
    heard = Heard(model, optimizer, criterion)
    heard.capture.listening = True
    train(*net)
    after = net[0].state_dict()
    for name, weight, gradient, moved in zip(
        NAMES, heard.arrays("weight"), heard.arrays("gradient"), heard.arrays("moved_weight"), strict=True
    ):
        assert np.array_equal(weight, before[name])
        assert np.array_equal(moved, after[name])
        assert np.allclose(moved - weight, -0.5 * gradient, rtol=1e-4, atol=1e-7)


def test_what_costs_extra_is_told_only_to_who_eats_it(net):
    heard = Heard(*net)
    heard.capture.listening = True
    train(*net)
    assert "output_gradient" not in [kind for kind, _, _ in heard.events]


def test_while_nobody_listens_no_module_holds_a_hook_and_steps_are_still_signalled(net):
    heard = Heard(*net)
    train(*net)
    assert heard.events == []
    assert heard.signals == ["before", "after"]
    assert not any(module._forward_hooks or module._backward_hooks for module in net[0].modules())


def test_an_evaluation_between_steps_is_not_heard(net):
    model, _, criterion = net
    heard = Heard(*net)
    heard.capture.listening = True
    with sn.no_grad():
        criterion(model(np.ones((2, 3))), np.array([0, 1]))
    model.eval()
    criterion(model(np.ones((2, 3))), np.array([0, 1]))
    assert heard.events == []


def test_closing_takes_every_hook_away(net):
    heard = Heard(*net)
    heard.capture.listening = True
    heard.capture.close()
    train(*net)
    assert heard.events == []
    assert heard.signals == []


def test_a_parameter_without_gradient_is_left_out_of_the_gradients():
    used, unused = nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = used, unused

        def forward(self, x):
            return self.used(x)

    model = Net()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    heard = Heard(model, optimizer)
    heard.capture.listening = True
    model(np.ones((1, 2))).sum().backward()
    optimizer.step()
    gradients = next(subject for kind, subject, _ in heard.events if kind == "gradient")
    assert gradients == ("used.weight", "used.bias")
    ((kind, layer, message),) = heard.told
    assert (kind, layer) == ("unseen", "unused")
    assert "did not run" in message


def test_layers_and_parameters_are_described(net):
    heard = Heard(net[0], net[1], net[2], name="critic")
    heard.capture.listening = True
    train(*net)
    assert [(layer.name, layer.kind, layer.output_shape) for layer in heard.capture.layers] == [
        ("critic.0.0", "Linear", (4,)),
        ("critic.0.1", "ReLU", (4,)),
        ("critic.1", "Linear", (2,)),
    ]
    assert [p.name for p in heard.capture.parameters] == [f"critic.{name}" for name in NAMES]
    assert heard.capture.optimizer.kind == "SGD"
    assert heard.capture.optimizer.hyperparameters["lr"] == 0.5


def test_a_model_that_is_one_layer_goes_by_its_kind():
    model = nn.Linear(2, 2, rng=0)
    heard = Heard(model, optim.SGD(model.parameters(), lr=0.1))
    assert [layer.name for layer in heard.capture.layers] == ["Linear"]


def test_a_layer_whose_weight_is_derived_keeps_its_name_and_owns_what_it_is_derived_from():
    derived = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2, bias=False, rng=0))
    model = nn.Sequential(derived, nn.ReLU())
    capture = Heard(model, optim.SGD(model.parameters())).capture
    assert [layer.name for layer in capture.layers] == ["0", "1"]
    assert [parameter.name for parameter in capture.parameters] == [
        "0.parametrizations.weight.original0",
        "0.parametrizations.weight.original1",
    ]


def test_the_state_that_a_layer_gives_beside_its_output_is_not_heard():
    layer = nn.LSTM(3, 2, rng=0)
    heard = Heard(layer, optim.SGD(layer.parameters()))
    heard.capture.listening = True
    layer(np.ones((4, 1, 3)))
    assert heard.arrays("activation").shape == (4, 1, 2)


def test_a_parameter_that_the_optimizer_does_not_move_is_marked(net):
    model, _, criterion = net
    heard = Heard(model, optim.SGD(model[1].parameters(), lr=0.1), criterion)
    assert [p.is_trained for p in heard.capture.parameters] == [False, False, True, True]


@pytest.mark.parametrize(("moved", "expected"), [(0.0, True), (0.1, False)], ids=["as_built", "trained"])
def test_a_bias_that_does_not_move_and_is_one_number_is_marked(net, moved, expected):
    model, _, criterion = net
    bias = next(parameter for parameter in model.parameters() if parameter.ndim == 1)
    bias.array[...] = np.arange(len(bias.array)) * moved
    bias.requires_grad = False
    heard = Heard(model, optim.SGD(model.parameters(), lr=0.1), criterion)
    assert [p.is_uniform for p in heard.capture.parameters] == [False, expected, False, False]


def test_the_hessian_vector_product_is_exact_and_leaves_no_trace(net):
    model, _, criterion = net
    model.double()
    heard = Heard(model, optim.SGD(model.parameters(), lr=0.1), criterion)
    heard.capture.listening = True
    x, y = np.random.default_rng(0).standard_normal((6, 3)), np.array([0, 1, 0, 1, 1, 0])
    before = model.state_dict()
    hvp, dim, like = heard.capture.make_hvp(lambda: criterion(model(x), y))
    assert (dim, like.dtype) == (26, np.float64)
    dense = np.array([hvp(row) for row in np.eye(dim)])
    assert np.allclose(dense, dense.T, atol=1e-14)
    vector = np.random.default_rng(1).standard_normal(dim)
    shapes = [p.shape for p in model.parameters()]
    parts = np.split(vector, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
    expected = sn.hvp(
        lambda: criterion(model(x), y),
        list(model.parameters()),
        [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)],
    )
    heard.events.clear()
    assert np.allclose(hvp(vector), np.concatenate([e.ravel() for e in expected]), rtol=1e-12)
    assert heard.events == []
    assert model.training
    assert heard.capture.listening
    assert all(p.grad is None for p in model.parameters())
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())


class TestBadInput:
    def test_a_model_of_no_known_framework(self):
        with pytest.raises(TypeError, match=r"watch needs a model of scratchnet or torch, got builtins.dict"):
            open_capture({}, None, None)

    def test_an_optimizer_of_another_framework(self, net):
        with pytest.raises(TypeError, match=r"watch needs an optimizer of scratchnet.*got builtins.NoneType"):
            open_capture(net[0], None, None)

    def test_a_criterion_that_is_a_plain_function(self, net):
        with pytest.raises(TypeError, match=r"watch needs a criterion of scratchnet.*got builtins.function"):
            open_capture(net[0], net[1], lambda: None)

    def test_a_model_without_parameters(self, net):
        with pytest.raises(
            ValueError, match=r"needs a model with layers to train, got scratchnet.nn.container.Sequential"
        ):
            open_capture(nn.Sequential(), net[1], None)

    def test_an_optimizer_of_another_model(self, net):
        other = nn.Linear(1, 1, rng=0)
        with pytest.raises(ValueError, match=r"needs an optimizer that moves the model's parameters"):
            open_capture(net[0], optim.SGD(other.parameters()), None)


def clip(model):
    return float(nn.utils.clip_grad_norm_(model.parameters(), 0.05))


def train_and(between, model, optimizer, criterion):
    loss = criterion(model(np.ones((5, 3))), np.array([0, 1, 0, 1, 0]))
    optimizer.zero_grad()
    loss.backward()
    told = between(model)
    optimizer.step()
    return told


def test_from_the_first_time_that_gradients_are_clipped_their_norms_before_are_told(net):
    heard = Heard(*net)
    heard.capture.listening = True
    train(*net)
    assert "unclipped_gradient" not in {kind for kind, _, _ in heard.events}
    before = train_and(clip, *net)
    (norms,) = heard.arrays("unclipped_gradient")
    assert np.linalg.norm(norms) == pytest.approx(before, rel=1e-6)
    heard.events.clear()
    train(*net)
    (norms,), gradients = heard.arrays("unclipped_gradient"), heard.arrays("gradient")
    assert norms == pytest.approx([np.linalg.norm(gradient) for gradient in gradients], rel=1e-6)


def test_who_clips_twice_is_told_the_norms_before_the_first_time(net):
    heard = Heard(*net)
    heard.capture.listening = True
    before = train_and(lambda model: (clip(model), clip(model))[0], *net)
    (norms,) = heard.arrays("unclipped_gradient")
    assert np.linalg.norm(norms) == pytest.approx(before, rel=1e-6)


def test_clipping_between_recorded_steps_leaves_nothing_to_tell(net):
    heard = Heard(*net)
    train_and(clip, *net)
    heard.capture.listening = True
    train(*net)
    assert "unclipped_gradient" not in {kind for kind, _, _ in heard.events}


def test_parameters_hold_a_hook_while_somebody_listens_and_at_no_other_time(net):
    def held():
        return [bool(parameter._clip_hooks) for parameter in net[0].parameters()]

    heard = Heard(*net)
    assert not any(held())
    heard.capture.listening = True
    assert all(held())
    heard.capture.close()
    assert not any(held())


def test_the_norms_of_a_step_that_is_skipped_are_not_told_for_the_next(net):
    heard = Heard(*net)
    heard.capture.listening = True
    model, optimizer, criterion = net
    loss = 1000 * criterion(model(np.ones((5, 3))), np.array([0, 1, 0, 1, 0]))
    optimizer.zero_grad()
    loss.backward()
    clip(model)
    before = train_and(clip, *net)
    (norms,) = heard.arrays("unclipped_gradient")
    assert np.linalg.norm(norms) == pytest.approx(before, rel=1e-6)


def test_of_gradients_that_are_clipped_as_they_add_up_the_norm_before_the_last_time_is_told(net):
    heard = Heard(*net)
    heard.capture.listening = True
    model, optimizer, criterion = net
    optimizer.zero_grad()
    for _ in range(2):
        criterion(model(np.ones((5, 3))), np.array([0, 1, 0, 1, 0])).backward()
        before = clip(model)
    optimizer.step()
    (norms,) = heard.arrays("unclipped_gradient")
    assert np.linalg.norm(norms) == pytest.approx(before, rel=1e-6)


def test_a_last_layer_that_takes_no_part_does_not_hide_the_norms_before_clipping():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(3, 2, rng=0), nn.Linear(2, 2, rng=1)

        def forward(self, x):
            return self.used(x)

    model = Spare()
    net = model, optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss()
    heard = Heard(*net)
    heard.capture.listening = True
    train_and(clip, *net)
    heard.events.clear()
    before = train_and(clip, *net)
    (norms,) = heard.arrays("unclipped_gradient")
    assert np.linalg.norm(norms) == pytest.approx(before, rel=1e-6)
    assert "gradient_norm_before_clipping" not in {subject for _, subject, _ in heard.told}


def test_gradients_that_are_set_by_hand_pile_up_no_hooks(net):
    heard = Heard(*net)
    heard.capture.listening = True
    train(*net)
    handles = len(heard.capture._handles)
    for _ in range(3):
        net[1].step()
    assert len(heard.capture._handles) == handles


def test_a_pass_that_was_not_heard_has_no_norms_before_clipping(net):
    heard = Heard(*net)
    heard.capture.listening = True
    train_and(clip, *net)
    heard.capture.listening = False
    model, optimizer, criterion = net
    loss = criterion(model(np.ones((5, 3))), np.array([0, 1, 0, 1, 0]))
    optimizer.zero_grad()
    loss.backward()
    clip(model)
    heard.events.clear()
    # As the second of two pairs is heard, when the first has ended the step.
    heard.capture.listening = True
    optimizer.step()
    kinds = {kind for kind, _, _ in heard.events}
    assert "gradient" in kinds
    assert "unclipped_gradient" not in kinds
    # Once may be a beginning in the middle of a step.
    assert heard.told == []
    for _ in range(3):
        optimizer.step()
    assert [(kind, subject) for kind, subject, _ in heard.told] == [
        ("unseen", "gradient_norm_before_clipping")
    ]
