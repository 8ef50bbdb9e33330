"""Layers, losses, derivatives and whole training runs beside their PyTorch twins, in float64."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import nn, optim
from scratchnet.nn import init
from scratchnet.tape import Array

torch = pytest.importorskip("torch")

STEPS, BATCH = 100, 64


def twin_of(model: nn.Module) -> Any:
    """The same network in PyTorch, with the same numbers in it."""
    makers: dict[type[nn.Module], Callable[[Any], Any]] = {
        nn.Linear: lambda m: torch.nn.Linear(m.in_features, m.out_features, bias=m.bias is not None),
        nn.Sequential: lambda m: torch.nn.Sequential(*map(make, m)),
    }

    def make(module: Any) -> Any:
        return makers.get(type(module), lambda m: getattr(torch.nn, type(m).__name__)())(module)

    twin = make(model).double()
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in model.state_dict().items()})
    return twin


def assert_same(ours: Any, theirs: Any, tolerance: float = 1e-10) -> None:
    """Equal to a tolerance, relative for numbers above one."""
    np.testing.assert_allclose(
        np.asarray(ours), theirs.detach().numpy(), rtol=tolerance, atol=tolerance, strict=True
    )


def compare(ours: nn.Module, theirs: Any, x: Array, *rest: Any) -> None:
    """Output, gradient with respect to the input, and gradients of all parameters."""
    x_ours = sn.Tensor(x, requires_grad=True)
    x_theirs = torch.tensor(x, requires_grad=True)
    y_ours, y_theirs = ours(x_ours, *rest), theirs(x_theirs, *map(torch.as_tensor, rest))
    assert_same(y_ours, y_theirs)
    cotangent = np.random.default_rng(9).standard_normal(y_ours.shape)
    y_ours.backward(cotangent)
    y_theirs.backward(torch.as_tensor(cotangent))
    assert_same(x_ours.grad, x_theirs.grad)
    for p_ours, p_theirs in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same(p_ours.grad, p_theirs.grad)


# ---------------------------------------------------------------------------------------------- layers

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 4, rng=0), (5, 6)),
    "linear without bias": (lambda: nn.Linear(6, 4, bias=False, rng=0), (5, 6)),
    "linear on one example": (lambda: nn.Linear(6, 4, rng=0), (6,)),
    "linear on sequences": (lambda: nn.Linear(6, 4, rng=0), (2, 5, 6)),
    "relu": (nn.ReLU, (5, 6)),
    "tanh": (nn.Tanh, (5, 6)),
    "sigmoid": (nn.Sigmoid, (5, 6)),
    "network": (
        lambda: nn.Sequential(
            nn.Linear(6, 8, rng=0),
            nn.ReLU(),
            nn.Sequential(nn.Linear(8, 8, rng=1), nn.Tanh()),
            nn.Linear(8, 3, rng=2),
            nn.Sigmoid(),
        ),
        (5, 6),
    ),
}


@pytest.mark.parametrize(("make", "size"), LAYERS.values(), ids=LAYERS)
def test_layers_and_their_gradients_are_pytorch_s(
    rng: np.random.Generator, make: Callable[[], nn.Module], size: tuple[int, ...]
) -> None:
    layer = make().double()
    compare(layer, twin_of(layer), 2 * rng.standard_normal(size))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dim", [0, -1])
def test_softmax_and_its_logarithm_are_pytorch_s(rng: np.random.Generator, name: str, dim: int) -> None:
    x = 10 * rng.standard_normal((4, 5))
    ours = getattr(nn.functional, name)(x, dim=dim)
    assert_same(ours, getattr(torch.nn.functional, name)(torch.tensor(x), dim=dim))


def test_a_state_travels_both_ways(rng: np.random.Generator) -> None:
    def ours() -> nn.Module:
        shared = nn.Linear(4, 4, rng=0)
        return nn.Sequential(nn.Linear(3, 4, rng=1), shared, nn.ReLU(), shared).double()

    def theirs() -> Any:
        shared = torch.nn.Linear(4, 4)
        return torch.nn.Sequential(torch.nn.Linear(3, 4), shared, torch.nn.ReLU(), shared).double()

    source, target, back = theirs(), ours(), theirs()
    assert list(target.state_dict()) == list(source.state_dict())
    target.load_state_dict({name: value.numpy() for name, value in source.state_dict().items()})
    back.load_state_dict({name: torch.from_numpy(array) for name, array in target.state_dict().items()})
    x = rng.standard_normal((2, 3))
    assert_same(target(x), source(torch.tensor(x)), 1e-14)
    assert all(torch.equal(back.state_dict()[name], value) for name, value in source.state_dict().items())


# ---------------------------------------------------------------------------------------------- losses

CROSS_ENTROPIES = [
    {"reduction": reduction, "weight": weight, "ignore_index": ignored, "label_smoothing": smoothing}
    for reduction, weight, ignored, smoothing in itertools.product(
        ("mean", "sum", "none"), (None, [1.0, 0.5, 2.0, 0.0]), (-100, 2), (0.0, 0.2)
    )
]


@pytest.mark.parametrize("options", CROSS_ENTROPIES, ids=lambda options: "-".join(map(str, options.values())))
def test_cross_entropy_is_pytorch_s(rng: np.random.Generator, options: dict[str, Any]) -> None:
    weight = options["weight"]
    theirs = torch.nn.CrossEntropyLoss(
        **{**options, "weight": None if weight is None else torch.tensor(weight, dtype=torch.float64)}
    )
    labels = np.array([0, 2, 1, 3, 2, 0, 1])
    compare(nn.CrossEntropyLoss(**options), theirs, 5 * rng.standard_normal((7, 4)), labels)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_squared_error_is_pytorch_s(rng: np.random.Generator, reduction: Any) -> None:
    x, y = rng.standard_normal((2, 5, 3))
    compare(nn.MSELoss(reduction), torch.nn.MSELoss(reduction=reduction), x, y)


# ----------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.ReLU])
@pytest.mark.parametrize(
    ("criterion", "twin_criterion", "target"),
    [
        (
            nn.CrossEntropyLoss(label_smoothing=0.1),
            torch.nn.CrossEntropyLoss(label_smoothing=0.1),
            np.arange(12) % 4,
        ),
        (nn.MSELoss(), torch.nn.MSELoss(), np.ones((12, 4))),
    ],
    ids=["cross-entropy", "mse"],
)
def test_hessian_vector_products_are_pytorch_s(
    rng: np.random.Generator, activation: Any, criterion: Any, twin_criterion: Any, target: Array
) -> None:
    model = nn.Sequential(
        nn.Linear(6, 8, rng=0), activation(), nn.Linear(8, 8, rng=1), activation(), nn.Linear(8, 4, rng=2)
    ).double()
    twin, x = twin_of(model), rng.standard_normal((12, 6))
    vectors = [rng.standard_normal(p.shape) for p in model.parameters()]
    ours = sn.hvp(lambda: criterion(model(x), target), list(model.parameters()), vectors)
    weights = list(twin.parameters())
    gradients = torch.autograd.grad(
        twin_criterion(twin(torch.tensor(x)), torch.as_tensor(target)), weights, create_graph=True
    )
    theirs = torch.autograd.grad(gradients, weights, grad_outputs=[torch.tensor(v) for v in vectors])
    for mine, yours in zip(ours, theirs, strict=True):
        assert_same(mine, yours, 1e-9)


def test_third_derivatives_are_pytorch_s(rng: np.random.Generator) -> None:
    values = rng.standard_normal((3, 4))

    def derivatives(x: Any, take: Callable[..., Any]) -> list[Any]:
        y, found = (x.tanh() * x.sigmoid() * x.exp()).sum(), []
        for _ in range(3):
            (slope,) = take(y, [x], create_graph=True)
            found.append(slope)
            y = (slope * slope).sum()
        return found

    ours = derivatives(sn.Tensor(values, requires_grad=True), sn.grad)
    theirs = derivatives(torch.tensor(values, requires_grad=True), torch.autograd.grad)
    for mine, yours in zip(ours, theirs, strict=True):
        assert_same(mine, yours)


# ---------------------------------------------------------------------------------------- initialisers


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("uniform_", {"a": -0.2, "b": 0.7}),
        ("normal_", {"mean": 0.5, "std": 0.1}),
        ("xavier_uniform_", {"gain": 2.0}),
        ("xavier_normal_", {}),
        ("kaiming_uniform_", {"a": 5**0.5}),
        ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("kaiming_normal_", {"nonlinearity": "tanh"}),
        ("kaiming_normal_", {"a": 0.3, "mode": "fan_out"}),
    ],
)
def test_initialisers_draw_from_pytorch_s_distribution(name: str, options: dict[str, Any]) -> None:
    size = (400, 50, 5)
    ours = getattr(init, name)(sn.Tensor(np.empty(size)), **options, rng=0).numpy()
    generator = torch.Generator().manual_seed(0)
    draw = getattr(torch.nn.init, name)
    theirs = draw(torch.empty(size, dtype=torch.float64), **options, generator=generator).numpy()
    # Two samples of 100,000: five standard errors of a mean, and 2 % of a deviation.
    assert abs(ours.mean() - theirs.mean()) < 5 * theirs.std() * (2 / theirs.size) ** 0.5
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    if "uniform" in name:
        assert [ours.min(), ours.max()] == pytest.approx([theirs.min(), theirs.max()], rel=1e-3)


@pytest.mark.parametrize("nonlinearity", ["linear", "sigmoid", "tanh", "relu", "leaky_relu"])
@pytest.mark.parametrize("param", [None, 0.3])
def test_gains_are_pytorch_s(nonlinearity: Any, param: float | None) -> None:
    assert init.calculate_gain(nonlinearity, param) == torch.nn.init.calculate_gain(nonlinearity, param)


def test_a_linear_layer_starts_within_pytorch_s_bounds() -> None:
    ours, theirs = nn.Linear(100, 2000, rng=0), torch.nn.Linear(100, 2000)
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.dtype == yours.detach().numpy().dtype
        assert np.abs(mine.numpy()).max() == pytest.approx(float(yours.detach().abs().max()), rel=1e-2)
        assert mine.numpy().std() == pytest.approx(float(yours.detach().std()), rel=0.05)


# ------------------------------------------------------------------------------------ a whole training


@pytest.mark.parametrize(
    ("make", "twin_make"),
    [
        (
            lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4),
            lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4),
        ),
        (lambda p: optim.AdamW(p, lr=1e-3), lambda p: torch.optim.AdamW(p, lr=1e-3)),
    ],
    ids=["SGD", "AdamW"],
)
def test_the_digits_network_goes_the_way_of_its_twin(
    make: Callable[[Any], Any], twin_make: Callable[[Any], Any]
) -> None:
    split = sn.data.load_digits()
    model = nn.Sequential(nn.Linear(64, 32, rng=0), nn.ReLU(), nn.Linear(32, 16, rng=1), nn.Tanh())
    model = nn.Sequential(model, nn.Linear(16, 10, rng=2)).double()
    twin = twin_of(model)
    optimizer, twin_optimizer = make(model.parameters()), twin_make(twin.parameters())
    criterion, twin_criterion = nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss()
    loader = sn.data.DataLoader((split.x_train.astype(float), split.y_train), BATCH, shuffle=True, rng=3)
    batches = itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader)), STEPS)
    losses = []
    for x, y in batches:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        twin_optimizer.zero_grad()
        twin_loss = twin_criterion(twin(torch.from_numpy(x)), torch.from_numpy(y))
        twin_loss.backward()
        twin_optimizer.step()
        assert_same(loss, twin_loss)
        ours, theirs = model.parameters(), twin.parameters()
        assert_same(np.concatenate([p.numpy().ravel() for p in ours]), torch.cat([p.ravel() for p in theirs]))
        losses.append(loss.item())
    assert len(losses) == STEPS
    assert losses[-1] < 0.9 * losses[0]
