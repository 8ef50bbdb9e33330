"""Modules of PyTorch that hooks hear wrongly, twice or not at all: what the log says of them."""

import copy
import pickle

import numpy as np
import pytest

import diag

torch = pytest.importorskip("torch")
from tests.diag.capture import torch_module_traps as module_traps  # noqa: E402  torch is needed to define them
from tests.diag.capture import torch_traps as traps  # noqa: E402  torch is needed to define them
from tests.diag.capture.heard import Heard, listening  # noqa: E402

nn = torch.nn


def unseen(log):
    return {h.subject: h.message for h in log.happenings if h.kind == "unseen"}


def heard_of(train):
    """What is heard of a training's first step."""
    heard = []

    def watch(model, optimizer, criterion=None):
        heard.append(listening(model, optimizer, criterion, wants=frozenset({"output_gradient"})))

    train(watch)
    events = heard[0].events
    first = [kind for kind, _, _ in events].index("moved_weight")
    return events[: first + 1]


def layers_of(train):
    return [subject for kind, subject, _ in heard_of(train) if kind == "activation"]


def test_a_tied_weight_is_one_parameter_of_the_layer_that_comes_first(log_of):
    log = log_of(module_traps.tied)
    assert log.series("update_norm").columns == ("0.weight", "2.weight", "2.bias")
    assert [p.name for p in log.model.parameters] == ["0.weight", "2.weight", "2.bias"]


def test_a_shared_module_speaks_each_time_it_runs_under_one_name():
    assert layers_of(module_traps.shared) == ["0", "1", "0", "3", "0", "5"]


@pytest.mark.parametrize(
    "train", [module_traps.checkpointed, module_traps.checkpointed_reentrant], ids=["new", "reentrant"]
)
def test_what_a_checkpoint_computes_again_is_heard_once(train):
    assert layers_of(train) == ["first", "body.0", "body.1", "body.2", "body.3", "head"]


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    "train",
    [module_traps.compiled, module_traps.compiled_afterwards, module_traps.compiled_in_place],
    ids=["before", "afterwards", "in place"],
)
def test_a_compiled_model_is_heard_like_any_other(log_of, tmp_path, train, every):
    log = log_of(train, every=every)
    with diag.Recorder(tmp_path / "plain", every=every) as recorder:
        traps.plain(recorder.watch)
    expected = diag.Log(tmp_path / "plain")
    for name in ("activation_mean", "activation_rms", "dead_unit_rate", "gradient_norm", "update_ratio"):
        assert np.allclose(log.series(name).values, expected.series(name).values, rtol=1e-10, equal_nan=True)
    assert unseen(log) == {}


def test_listening_neither_breaks_the_graph_nor_compiles_it_again():
    torch.compiler.reset()
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    model = traps.mlp()
    compiled = torch.compile(model, backend=backend)
    heard = Heard(compiled, traps.sgd(model))
    for is_listening in (True, False, True):
        heard.capture.listening = is_listening
        compiled(traps.X).sum().backward()
    assert len(graphs) == 1
    assert heard.layers() == ["0", "1", "2"] * 2
    heard.capture.close()
    compiled(traps.X)
    assert heard.layers() == ["0", "1", "2"] * 2


def test_a_model_that_was_compiled_and_run_before_it_is_watched_is_told(tmp_path):
    torch.compiler.reset()
    model = torch.compile(traps.mlp(), backend="aot_eager")
    optimizer = traps.sgd(model)
    traps.train(model, optimizer, steps=1)
    with pytest.warns(
        diag.DiagWarning, match=r"no layer was heard.*compiled and had run before.*watch it before"
    ):
        with diag.Recorder(tmp_path / "run", every=1) as recorder:
            recorder.watch(model, optimizer)
            traps.train(model, optimizer)
    log = diag.Log(tmp_path / "run")
    assert list(unseen(log)) == [""]
    assert np.isfinite(log.series("gradient_norm", of="parameters").values).all()


def test_hooks_that_someone_else_removed_are_told_once_and_training_goes_on(tmp_path):
    model = traps.mlp()
    optimizer = traps.sgd(model)
    with pytest.warns(diag.DiagWarning, match=r"no layer was heard.*someone removed the hooks") as warned:
        with diag.Recorder(tmp_path / "run", every=1) as recorder:
            recorder.watch(model, optimizer)
            traps.train(model, optimizer, steps=1)
            for module in model.modules():
                module._forward_hooks.clear()
            traps.train(model, optimizer, steps=3)
    assert len(warned) == 1
    assert len(diag.Log(tmp_path / "run").steps) == 4


def test_a_model_that_trains_in_evaluation_mode_is_told(tmp_path):
    with pytest.warns(diag.DiagWarning, match=r"no layer was heard: the model is in evaluation mode"):
        with diag.Recorder(tmp_path / "run", every=1) as recorder:
            traps.plain(recorder.watch, traps.mlp().eval())


def test_what_an_in_place_activation_overwrites_was_measured_before(log_of):
    log = log_of(module_traps.in_place)
    torch.manual_seed(0)
    linear = nn.Linear(6, 5)
    nn.Linear(5, 3)
    with torch.no_grad():
        expected = linear.double()(traps.X)
    assert expected.min() < 0
    assert log.series("activation_mean").column("0")[0] == pytest.approx(expected.mean().item(), rel=1e-12)


def test_gradients_of_outputs_are_those_before_an_in_place_activation():
    def outputs(inplace):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=inplace), nn.Linear(5, 3)).double()
        events = heard_of(lambda watch: traps.plain(watch, model))
        return {subject: array for kind, subject, array in events if kind == "output_gradient"}

    ours, plain = outputs(inplace=True), outputs(inplace=False)
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


def test_a_frozen_encoder_keeps_its_fused_step_and_its_parts_are_told_as_unseen(log_of):
    log = log_of(module_traps.frozen_encoder)
    reasons = unseen(log)
    assert {"encoder.layers.0.linear1", "encoder.layers.1.norm2"} <= set(reasons)
    assert "head" not in reasons
    assert all("left to run as one fused step" in reason for reason in reasons.values())


def test_an_evaluation_meets_no_hook_that_would_switch_its_fused_step_off():
    def run(model, x):
        return model.encoder(x.unsqueeze(1))[:, 0]

    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
    model = traps.Parts(run, encoder=encoder).float()
    heard = listening(model, traps.sgd(model))
    model(traps.X.float())
    count = len(heard.events)
    assert count > 0
    held = []
    handle = nn.modules.module.register_module_forward_pre_hook(
        lambda module, _: held.append(len(module._forward_hooks)) if module is encoder.linear1 else None
    )
    model.eval()
    with torch.no_grad():
        model(traps.X.float())
    handle.remove()
    assert not any(module._forward_hooks for module in encoder.modules())
    assert held == []  # the fused step calls no linear layer
    assert len(heard.events) == count
    model.train()
    model(traps.X.float())
    assert len(heard.events) == 2 * count


def test_the_outputs_of_recurrent_layers_dictionaries_and_dataclasses_are_heard():
    shapes = {
        subject: tuple(array.shape)
        for train in (module_traps.recurrent, module_traps.structured)
        for kind, subject, array in heard_of(train)
        if kind == "activation"
    }
    assert shapes == {"gru": (24, 4), "head": (8, 3), "first": (8, 5), "second": (8, 3)}


def test_the_projection_that_attention_uses_without_calling_it_is_heard_as_the_attention():
    events = [(kind, subject, array) for kind, subject, array in heard_of(module_traps.attention)]
    heard = {subject: array for kind, subject, array in events if kind == "activation"}
    assert list(heard) == ["attention.out_proj", "attention", "head"]
    assert torch.equal(heard["attention.out_proj"], heard["attention"])


def test_an_output_that_nobody_can_look_into_is_told_and_the_other_layers_are_heard(log_of):
    log = log_of(module_traps.opaque)
    assert set(unseen(log)) == {"first"}
    assert "gave no tensor" in unseen(log)["first"]
    rms = log.series("activation_rms")
    assert np.isnan(rms.column("first")).all()
    assert (rms.column("second") > 0).all()
    assert (log.series("gradient_norm", of="parameters").column("first.weight") > 0).all()


def test_the_input_is_the_first_tensor_of_a_batch_by_name():
    inputs = [array for kind, _, array in heard_of(module_traps.named_batch) if kind == "input"]
    assert torch.equal(inputs[0], traps.X)


def test_outputs_that_need_no_gradient_are_passed_by_without_one():
    gradients = [s for kind, s, _ in heard_of(traps.frozen_and_unused) if kind == "output_gradient"]
    assert gradients == ["2"]


def test_what_runs_in_half_precision_by_itself_is_measured_as_it_ran(log_of):
    log = log_of(module_traps.autocast)
    torch.manual_seed(0)
    first, x = nn.Linear(6, 5), traps.X.float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = first(x)
    assert output.dtype == torch.bfloat16
    rms = output.double().square().mean().sqrt().item()
    assert log.series("activation_rms").column("first")[0] == pytest.approx(rms, rel=1e-6)
    assert unseen(log) == {}


def test_a_sparse_gradient_has_the_norm_of_the_dense_one(log_of):
    log = log_of(module_traps.sparse)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 3)).double()
    nn.functional.cross_entropy(model((traps.X * 10).long().abs() % 5), traps.Y).backward()
    norm = model[0].weight.grad.norm().item()
    assert log.series("gradient_norm", of="parameters").column("0.weight")[0] == pytest.approx(
        norm, rel=1e-12
    )


def test_the_layout_channels_last_changes_no_number(log_of, tmp_path):
    log = log_of(module_traps.channels_last)
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 4, 2).double()
    with torch.no_grad():
        rms = conv(torch.cat([traps.X, traps.X], dim=1).reshape(8, 2, 2, 3)).square().mean().sqrt().item()
    assert log.series("activation_rms").column("0")[0] == pytest.approx(rms, rel=1e-12)


def test_bfloat16_is_measured_to_its_own_precision(log_of, tmp_path):
    log = log_of(module_traps.bfloat16)
    with diag.Recorder(tmp_path / "wide", every=1) as recorder:
        traps.plain(recorder.watch)
    wide = diag.Log(tmp_path / "wide")
    for name in ("activation_rms", "weight_norm", "gradient_norm"):
        ours, theirs = log.series(name).values[0], wide.series(name).values[0]
        assert np.allclose(ours, theirs, rtol=0.05, equal_nan=True)
    updates = log.series("update_norm").values, wide.series("update_norm").values
    assert np.allclose(*updates, rtol=0.3)
    assert not np.array_equal(*log.series("weight_norm").values[[0, -1]])


def test_a_complex_parameter_has_the_norms_of_its_two_parts(log_of):
    torch.manual_seed(0)
    phases = torch.randn(6, dtype=torch.complex128)
    log = log_of(module_traps.complex_valued)
    for name in ("weight_norm", "gradient_norm", "update_norm"):
        assert (log.series(name, of="parameters").column("first.phases") > 0).all()
    weight = log.series("weight_norm").column("first.phases")[0]
    assert weight == pytest.approx(phases.norm().item(), rel=1e-12)


def test_a_parametrized_layer_goes_by_the_kind_that_the_user_knows():
    model = traps.mlp()
    nn.utils.parametrizations.weight_norm(model[0])
    capture = Heard(model, traps.sgd(model)).capture
    assert [(layer.name, layer.kind) for layer in capture.layers] == [
        ("0", "Linear"),
        ("1", "ReLU"),
        ("2", "Linear"),
    ]
    assert [p.name for p in capture.parameters if p.layer == "0"] == [
        "0.bias",
        "0.parametrizations.weight.original0",
        "0.parametrizations.weight.original1",
    ]


def pickled(pair):
    return pickle.loads(pickle.dumps(pair))  # noqa: S301  our own bytes


@pytest.mark.parametrize("travel", [copy.deepcopy, pickled])
def test_a_copy_of_a_watched_model_works_and_is_not_heard(travel):
    model = traps.mlp()
    optimizer = traps.sgd(model)
    heard = listening(model, optimizer)
    traps.train(model, optimizer, steps=1)
    count, signals = len(heard.events), len(heard.signals)
    twin, its_optimizer = travel((model, optimizer))
    traps.train(twin, its_optimizer, steps=1)
    traps.train(twin, traps.sgd(twin), steps=1)
    assert (len(heard.events), len(heard.signals)) == (count, signals)
    traps.train(model, optimizer, steps=1)
    assert len(heard.events) == 2 * count
    assert model.state_dict().keys() == twin.state_dict().keys()


@pytest.mark.parametrize("travel", [copy.deepcopy, pickled])
@pytest.mark.parametrize("fused", [False, True])
def test_the_answer_to_a_scaler_travels_as_a_plain_one(travel, fused):
    model = traps.mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    Heard(model, optimizer)
    # Some optimisers of other people let all their attributes travel.
    assert travel(optimizer._step_supports_amp_scaling) is fused
