"""Wrap a model: two lines around an ordinary training loop, and a report at the end.

python examples/wrap_a_model.py
"""

import sys
from pathlib import Path

import diag
import scratchnet as sn
from scratchnet import nn, optim

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/wrapped")

x_train, y_train, x_test, y_test = sn.data.load_digits()
model = nn.Sequential(nn.Linear(64, 64, rng=0), nn.ReLU(), nn.Linear(64, 10, rng=1))
optimizer = optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()

with diag.Recorder(folder, config={"lr": 3e-3, "optimizer": "Adam"}) as recorder:
    recorder.watch(model, optimizer, criterion=criterion)
    for _ in range(15):
        for x, y in sn.data.DataLoader((x_train, y_train), batch_size=64, shuffle=True, rng=0):
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with sn.no_grad():
            accuracy = (model(x_test).numpy().argmax(axis=1) == y_test).mean()
        recorder.log(val_accuracy=accuracy)

log = diag.Log(folder)
print(f"test accuracy {accuracy:.1%}, verdict: {diag.diagnose(log).status}")
print(f"report: {diag.report(log, folder / 'report.html')}")
