"""Products with the Hessian of a PyTorch model: exact, of any model, and without a trace."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from tests.diag.capture import torch_traps as traps  # noqa: E402  torch is needed to define them
from tests.diag.capture.heard import Heard, listening  # noqa: E402

nn = torch.nn
cross_entropy = nn.functional.cross_entropy


def dense(model, loss_of):
    """The Hessian by torch's own, of the loss as a function of all parameters."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    sizes = [p.numel() for p in parameters]

    def loss(flat):
        parts = [part.reshape(p.shape) for part, p in zip(flat.split(sizes), parameters, strict=True)]
        return loss_of(lambda *x: torch.func.functional_call(model, dict(zip(names, parts, strict=True)), x))

    flat = torch.cat([p.detach().reshape(-1) for p in parameters])
    return torch.autograd.functional.hessian(loss, flat)


def columns(hvp, dim, like):
    return torch.stack([hvp(row) for row in torch.eye(dim, dtype=like.dtype)])


def attention():
    def run(model, x):
        # What torch fuses has no second derivative: the product must take the plain form.
        x = model.first(x).reshape(8, 1, 3, 2)
        return model.head(nn.functional.scaled_dot_product_attention(x, x, x).reshape(8, 6))

    torch.manual_seed(0)
    return traps.Parts(run, first=nn.Linear(6, 6), head=nn.Linear(6, 3)).double()


def normed():
    torch.manual_seed(0)
    parts = nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 3)
    return nn.Sequential(*parts).double()


def recurrent():
    def run(model, x):
        return model.head(model.lstm(x.reshape(8, 3, 2))[0][:, -1])

    torch.manual_seed(0)
    return traps.Parts(run, lstm=nn.LSTM(2, 3, batch_first=True), head=nn.Linear(3, 3)).double()


def encoder():
    def run(model, x):
        return model.layer(x.reshape(8, 2, 3))[:, 0]

    torch.manual_seed(0)
    return traps.Parts(run, layer=nn.TransformerEncoderLayer(3, 1, 2, batch_first=True)).double()


@pytest.mark.parametrize("make", [traps.mlp, normed, attention, recurrent, encoder], ids=lambda f: f.__name__)
def test_products_are_those_of_the_dense_hessian(make):
    model = make()
    heard = listening(model, traps.sgd(model))
    hvp, dim, like = heard.capture.make_hvp(lambda: cross_entropy(model(traps.X), traps.Y))
    model.eval()
    with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
        expected = dense(model, lambda call: cross_entropy(call(traps.X), traps.Y))
    assert (dim, like.dtype) == (len(expected), torch.float64)
    found = columns(hvp, dim, like)
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert torch.allclose(found, found.T, atol=1e-12)


@pytest.mark.parametrize("backend", ["aot_eager", "eager"])
def test_a_compiled_model_has_the_curvature_of_the_uncompiled(backend):
    torch.compiler.reset()
    model = traps.mlp()
    compiled = torch.compile(model, backend=backend)
    heard = Heard(compiled, traps.sgd(model))
    traps.train(compiled, traps.sgd(model), steps=1)
    hvp, dim, like = heard.capture.make_hvp(lambda: cross_entropy(compiled(traps.X), traps.Y))
    expected = dense(model, lambda call: cross_entropy(call(traps.X), traps.Y))
    assert torch.allclose(columns(hvp, dim, like), expected, rtol=1e-10, atol=1e-12)


def test_nothing_is_disturbed():
    model = normed()
    model[2].train()
    model[3].eval()
    modes = [module.training for module in model.modules()]
    cross_entropy(model(traps.X), traps.Y).backward()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [p.grad.clone() for p in model.parameters()]
    heard = listening(model, traps.sgd(model), nn.CrossEntropyLoss())
    torch.manual_seed(3)
    random_state = torch.get_rng_state()

    def closure():
        model[1].running_mean += torch.rand(4)  # as a careless module does in evaluation mode
        return cross_entropy(model(traps.X), traps.Y)

    heard.capture.make_hvp(closure)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert all(torch.equal(kept, p.grad) for kept, p in zip(gradients, model.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert heard.events == []
    assert heard.capture.listening


def test_a_parameter_that_the_loss_does_not_feel_has_rows_of_zeros():
    model = traps.mlp()
    model.add_module("unused", nn.Linear(1, 1).double())
    model.forward = lambda x: model[2](model[1](model[0](x)))
    heard = Heard(model, traps.sgd(model))
    hvp, dim, like = heard.capture.make_hvp(lambda: cross_entropy(model(traps.X), traps.Y))
    matrix = columns(hvp, dim, like)
    assert (matrix[-2:] == 0).all()
    assert (matrix[:, -2:] == 0).all()
    assert matrix[:-2, :-2].abs().max() > 0


def test_a_linear_loss_has_no_curvature():
    model = nn.Linear(6, 1).double()
    hvp, dim, like = Heard(model, traps.sgd(model)).capture.make_hvp(lambda: model(traps.X).sum())
    assert (columns(hvp, dim, like) == 0).all()


def test_frozen_parameters_are_left_out():
    model = traps.mlp()
    model[0].requires_grad_(False)
    capture = Heard(model, traps.sgd(model)).capture
    _, dim, _ = capture.make_hvp(lambda: cross_entropy(model(traps.X), traps.Y))
    assert dim == sum(p.numel() for p in model[2].parameters())


def test_the_recorded_eigenvalues_are_those_of_the_dense_hessian(tmp_path):
    import diag

    model = traps.mlp()
    optimizer = traps.sgd(model)
    expected = torch.linalg.eigvalsh(dense(model, lambda call: cross_entropy(call(traps.X), traps.Y)))
    with diag.Recorder(tmp_path / "run") as recorder:
        recorder.watch(model, optimizer)
        recorder.curvature(lambda: cross_entropy(model(traps.X), traps.Y), k=3)
        traps.train(model, optimizer)
    log = diag.Log(tmp_path / "run")
    assert np.allclose(log.series("top_eigenvalues").values[0], expected.flip(0)[:3].numpy(), rtol=1e-6)
    assert [h.message for h in log.happenings] == []
