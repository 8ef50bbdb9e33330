"""Compare two initialisations of a deep rectified network: He's keeps the signal's size, Xavier's halves it.

Each ReLU layer passes half of the variance on. He's initialisation makes up for it, Xavier's does not, so
that after L layers the signal is 2^(-L/2) times what it was (He et al., 2015, arXiv:1502.01852).

python examples/compare_initialisations.py
"""

import sys
from pathlib import Path

import numpy as np

import diag
import scratchnet as sn
from scratchnet import nn, optim

DEPTH, WIDTH, STEPS = 20, 128, 200
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/initialisations")
data = sn.data.load_digits()


def train(name: str) -> diag.Log:
    """Trains one network and gives back its log."""
    rng = np.random.default_rng(0)
    layers: list[nn.Module] = []
    for inputs in (64, *[WIDTH] * (DEPTH - 1)):
        layer = nn.Linear(inputs, WIDTH, bias=False, rng=rng)
        fill = nn.init.kaiming_normal_ if name == "he" else nn.init.xavier_normal_
        fill(layer.weight, rng=rng)
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10, rng=rng))
    optimizer, criterion = optim.SGD(model.parameters(), lr=0.01), nn.CrossEntropyLoss()
    with diag.Recorder(folder / name, config={"init": name}, every=5) as recorder:
        recorder.watch(model, optimizer, criterion=criterion)
        for _ in range(STEPS):
            rows = rng.choice(len(data.y_train), 128)
            loss = criterion(model(data.x_train[rows]), data.y_train[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return diag.Log(folder / name)


for name in ("he", "xavier"):
    log = train(name)
    size = log.series("activation_rms")
    first, last = size.column("1")[0], size.column(str(2 * DEPTH - 1))[0]
    loss = log.series("criterion_loss").values[:, 0]
    verdict = ", ".join(finding.rule for finding in diag.diagnose(log).findings) or "nothing found"
    print(
        f"{name:7} signal {last / first:.3f} of its size after {DEPTH} layers, loss {loss[0]:.2f} -> {loss[-1]:.2f}"
    )
    print(f"        {verdict}; report: {diag.report(log, folder / name / 'report.html')}")
