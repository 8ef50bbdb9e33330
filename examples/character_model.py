"""A small transformer learns the characters of Python's own source, watched, and then writes some.

python examples/character_model.py
"""

import sys
from pathlib import Path

import numpy as np

import diag
import scratchnet as sn
from scratchnet import nn, optim

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/characters")
WIDTH, LENGTH, BATCH, STEPS = 64, 32, 16, 200
text = sn.data.load_characters()
rng = np.random.default_rng(0)


class Model(nn.Module):
    """Two causal blocks between an embedding and the logits of the next character."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(text.vocabulary), WIDTH, rng=rng)
        self.position = nn.SinusoidalEncoding(WIDTH, batch_first=True)
        block = nn.TransformerEncoderLayer(WIDTH, 4, 128, 0.0, batch_first=True, norm_first=True, rng=rng)
        self.blocks = nn.TransformerEncoder(block, 2, norm=nn.LayerNorm(WIDTH))
        self.head = nn.Linear(WIDTH, len(text.vocabulary), rng=rng)

    def forward(self, characters: np.ndarray) -> sn.Tensor:
        """Logits, shape (batch, length, vocabulary)."""
        return self.head(self.blocks(self.position(self.embedding(characters)), is_causal=True))


model = Model()
optimizer = optim.AdamW(model.parameters(), lr=3e-3)
schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=STEPS)
criterion = nn.CrossEntropyLoss()
x, y = sn.data.sequences(text.train, LENGTH)
with diag.Recorder(folder, config={"lr": 3e-3}) as recorder:
    recorder.watch(model, optimizer, criterion=criterion)
    for rows in rng.integers(0, len(x), (STEPS, BATCH)):
        loss = criterion(model(x[rows]).reshape(-1, len(text.vocabulary)), y[rows].ravel())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
written = text.encode("def ")
with sn.no_grad():
    for _ in range(60):
        logits = model(written[None, -LENGTH:]).numpy()[0, -1].astype(float)
        written = np.append(written, rng.choice(len(logits), p=np.exp(logits) / np.exp(logits).sum()))
print(text.decode(written))
print(
    f"{loss.item() / np.log(2):.2f} bits a character, {np.log2(len(text.vocabulary)):.2f} for a blind guess"
)
