"""Networks that train well are accused of nothing: neither before their first step nor in the middle."""

import numpy as np
import pytest

import diag
import scratchnet as sn


def named(framework, seed):
    return {"rng": seed} if framework.nn is sn.nn else {}


def perceptron(framework):
    nn = framework.nn
    return nn.Sequential(
        nn.Linear(64, 64, **named(framework, 0)), nn.ReLU(), nn.Linear(64, 10, **named(framework, 1))
    )


def convolutions(framework):
    nn = framework.nn
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3, padding=1, **named(framework, 0)),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3, **named(framework, 1)),
        nn.Linear(128, 10, **named(framework, 2)),
    )


def recurrent(framework):
    nn = framework.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 32, batch_first=True, **named(framework, 0))
            self.head = nn.Linear(32, 10, **named(framework, 1))

        def forward(self, x):
            return self.head(self.lstm(x.reshape(-1, 8, 8))[0][:, -1])

    return Net()


def attentive(framework):
    nn = framework.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self):
            super().__init__()
            self.enter = nn.Linear(8, 32, **named(framework, 0))
            self.layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, **named(framework, 1))
            self.head = nn.Linear(32, 10, **named(framework, 2))

        def forward(self, x):
            return self.head(self.layer(self.enter(x.reshape(-1, 8, 8))).mean(1))

    return Net()


@pytest.mark.parametrize("make", [perceptron, convolutions, recurrent, attentive])
def test_nothing_is_confirmed_of_a_healthy_training(framework, make):
    data = sn.data.load_digits(rng=0)
    x, y = np.asarray(data.x_train, np.float32), np.asarray(data.y_train, np.int64)
    model, criterion, rng = make(framework), framework.nn.CrossEntropyLoss(), np.random.default_rng(0)
    optimizer = framework.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for steps in (0, 40):
        for _ in range(steps):
            rows = rng.integers(0, len(x), 64)
            loss = criterion(model(framework.array(x[rows])), framework.array(y[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        batch = framework.array(x[:64]), framework.array(y[:64])
        checks = diag.verify(model, criterion, *batch, optimizer=optimizer, steps=100)
        assert [check.claim for check in checks if check.verdict == "confirmed"] == []
        assert len(checks) == 7
