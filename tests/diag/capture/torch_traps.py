"""Trainings in PyTorch in whose loops hooks are known to go wrong, each with a model of its own.

A training is a function that is given `watch`, to be called as `Recorder.watch`, and returns its models.
"""

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

X = torch.linspace(-2, 2, 48, dtype=torch.float64).reshape(8, 6).sin()
Y = torch.arange(8) % 3


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()


def sgd(model, lr=0.1):
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def train(model, optimizer, x=X, y=Y, steps=4, criterion=None):
    for _ in range(steps):
        optimizer.zero_grad()
        (criterion or nn.CrossEntropyLoss())(model(x), y).backward()
        optimizer.step()


def plain(watch, model=None, x=X, optimizer=None, steps=4):
    """A training without a trap, of any model."""
    model = model or mlp()
    optimizer = optimizer or sgd(model)
    criterion = nn.CrossEntropyLoss()
    watch(model, optimizer, criterion=criterion)
    train(model, optimizer, x, steps=steps, criterion=criterion)
    return [model]


class Parts(nn.Module):  # type: ignore[misc, name-defined]
    """A model of named parts, run by a function."""

    def __init__(self, run, **parts):
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.run(self, x)


# ------------------------------------------------------------------------------------- the traps


def accumulation(watch):
    model = mlp()
    optimizer, criterion = sgd(model), nn.CrossEntropyLoss()
    watch(model, optimizer, criterion=criterion)
    for _ in range(3):
        optimizer.zero_grad()
        for rows in torch.arange(8).split(2):
            (criterion(model(X[rows]), Y[rows]) / 4).backward()
        optimizer.step()
    return [model]


def clipping(watch, steps=3):
    model = mlp()
    optimizer = sgd(model)
    watch(model, optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        (100 * nn.functional.cross_entropy(model(X), Y)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    return [model]


def accumulated_and_clipped(watch):
    model = mlp()
    optimizer = sgd(model)
    watch(model, optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        for x, y in zip(X.chunk(4), Y.chunk(4), strict=True):
            (nn.functional.cross_entropy(model(x), y) / 4).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
    return [model]


def clipped_at_times(watch):
    model = mlp()
    optimizer = sgd(model)
    watch(model, optimizer)
    for step in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        if step % 2:
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
    return [model]


def scaled(watch, optimizer_of=sgd, overflows=(0, 3), max_norm=None):
    """Five attempts, of which some overflow."""
    model = mlp().float()
    optimizer, scaler = optimizer_of(model), torch.amp.GradScaler("cpu", init_scale=1024.0)
    watch(model, optimizer)
    for attempt in range(5):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X.float()), Y)
        scaler.scale(loss * (float("inf") if attempt in overflows else 1.0)).backward()
        if max_norm:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        scaler.step(optimizer)
        scaler.update()
    return [model]


def scaled_and_clipped(watch):
    return scaled(watch, overflows=(), max_norm=0.05)


def scaled_fused_and_clipped(watch):
    fused = lambda model: torch.optim.SGD(model.parameters(), lr=0.1, fused=True)  # noqa: E731
    return scaled(watch, fused, overflows=(), max_norm=0.05)


def scaled_fused(watch):
    return scaled(watch, lambda model: torch.optim.Adam(model.parameters(), fused=True))


def lbfgs(watch):
    model = mlp()
    return closed(watch, model, torch.optim.LBFGS(model.parameters(), max_iter=3))


def sgd_closure(watch):
    model = mlp()
    return closed(watch, model, sgd(model))


def checkpointed_reentrant_and_clipped(watch):
    """The checkpoint holds the last layer: its backward pass ends when the first has no gradient yet."""
    from torch.utils.checkpoint import checkpoint

    def run(model, x):
        return checkpoint(model.head, model.first(x), use_reentrant=True)

    torch.manual_seed(0)
    model = Parts(run, first=nn.Linear(6, 6), head=nn.Linear(6, 3)).double()
    optimizer = sgd(model)
    watch(model, optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
    return [model]


def clipped_in_closure(watch):
    model = mlp()
    return closed(watch, model, sgd(model), max_norm=0.05)


def closed(watch, model, optimizer, max_norm=None):
    watch(model, optimizer)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X), Y)
        loss.backward()
        if max_norm:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        return loss

    for _ in range(3):
        optimizer.step(closure)
    return [model]


def gan(watch):
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 6)).double()
    critic = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(), nn.Linear(8, 1)).double()
    of_generator, of_critic = sgd(generator, 0.01), sgd(critic, 0.01)
    watch(generator, of_generator, name="generator")
    watch(critic, of_critic, name="critic")
    for _ in range(4):
        made = generator(torch.randn(8, 2, dtype=torch.float64))
        of_critic.zero_grad()
        (critic(made.detach()).mean() - critic(X).mean()).backward()
        of_critic.step()
        of_generator.zero_grad()
        (-critic(made).mean()).backward()
        of_generator.step()
    return [generator, critic]


def moved_together(watch):
    """Two models whose optimisers move one after the other, after both backward passes."""
    models = [mlp(), mlp()]
    optimizers = [sgd(model) for model in models]
    for name, model, optimizer in zip(("first", "second"), models, optimizers, strict=True):
        watch(model, optimizer, name=name)
    for _ in range(8):
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            (100 * nn.functional.cross_entropy(model(X), Y)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for optimizer in optimizers:
            optimizer.step()
    return models


def unused_and_clipped(watch):
    """The last layer takes no part."""
    torch.manual_seed(0)
    model = Parts(lambda self, x: self.used(x), used=nn.Linear(6, 3), spare=nn.Linear(3, 3)).double()
    optimizer = sgd(model)
    watch(model, optimizer)
    for _ in range(4):
        optimizer.zero_grad()
        (100 * nn.functional.cross_entropy(model(X), Y)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    return [model]


def heads_in_turn(watch):
    """Two heads of which each step uses one."""
    torch.manual_seed(0)
    model = Parts(
        lambda self, x: (self.one if self.turn else self.other)(self.trunk(x)),
        trunk=nn.Linear(6, 4),
        one=nn.Linear(4, 3),
        other=nn.Linear(4, 3),
    ).double()
    optimizer = sgd(model)
    watch(model, optimizer)
    for step in range(6):
        model.turn = step % 2
        optimizer.zero_grad()
        (100 * nn.functional.cross_entropy(model(X), Y)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    return [model]


def groups(watch):
    model = mlp()
    optimizer = torch.optim.AdamW(
        [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "lr": 0.01}]
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    watch(model, optimizer)
    for _ in range(4):
        train(model, optimizer, steps=1)
        schedule.step()
    return [model]


def late_group(watch):
    model = mlp()
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    watch(model, optimizer)
    train(model, optimizer, steps=2)
    optimizer.add_param_group({"params": model[0].parameters(), "lr": 0.2})
    train(model, optimizer, steps=2)
    return [model]


def frozen_and_unused(watch):
    model = mlp()
    model.unused = nn.Linear(2, 2).double()
    model.forward = lambda x: model[2](model[1](model[0](x)))
    model[0].requires_grad_(False)
    return plain(watch, model)


def evaluation_between(watch):
    model = mlp()
    optimizer = sgd(model)
    watch(model, optimizer)
    for _ in range(3):
        train(model, optimizer, steps=1)
        with torch.no_grad():
            model(X[:2])
        with torch.inference_mode():
            model(X[:2])
        model.eval()
        model(X[:2])
        model.train()
    return [model]


def averaged(watch):
    """A moving average of the weights: a copy of the watched model, which runs between steps."""
    model = mlp()
    optimizer = sgd(model)
    watch(model, optimizer)
    average = torch.optim.swa_utils.AveragedModel(model)
    for _ in range(3):
        train(model, optimizer, steps=1)
        average.update_parameters(model)
        average(X[:2]).sum().backward()
    return [model, average.module]


def penalized(watch):
    """The gradient by the input is part of the loss, and is itself differentiated."""
    model = mlp()
    model[1] = nn.Tanh()
    optimizer = sgd(model)
    watch(model, optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        x = X.clone().requires_grad_()
        loss = nn.functional.cross_entropy(model(x), Y)
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        (loss + slope.square().sum()).backward()
        optimizer.step()
    return [model]


def not_finite(watch):
    """From the third step on a layer in the midst of the network overflows."""
    model = mlp()
    optimizer = sgd(model)
    watch(model, optimizer)
    for step in range(4):
        if step == 2:
            with torch.no_grad():
                model[2].weight[0, 0] = float("inf")
        train(model, optimizer, steps=1)
    return [model]


LOOPS = [
    plain,
    accumulation,
    clipping,
    accumulated_and_clipped,
    clipped_at_times,
    clipped_in_closure,
    checkpointed_reentrant_and_clipped,
    scaled,
    scaled_and_clipped,
    scaled_fused,
    scaled_fused_and_clipped,
    lbfgs,
    sgd_closure,
    gan,
    moved_together,
    unused_and_clipped,
    heads_in_turn,
    groups,
    late_group,
    frozen_and_unused,
    evaluation_between,
    averaged,
    penalized,
    not_finite,
]
