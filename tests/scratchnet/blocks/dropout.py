"""Dropout: as PyTorch in evaluation mode, where there is no chance; the rest is told in test_dropout.py."""

from tests.scratchnet.blocks.contract import Case, normal

CASES = [
    Case("Dropout", lambda nn: nn.Dropout(0.3), lambda batch: (normal(batch, 4),), modes=("eval",)),
    Case("Dropout", lambda nn: nn.Dropout(p=0), lambda batch: (normal(batch, 4),), "p=0"),
    Case("Dropout", lambda nn: nn.Dropout(1.0), lambda batch: (normal(batch, 4),), "p=1"),
    Case("Dropout1d", lambda nn: nn.Dropout1d(0.3), lambda batch: (normal(batch, 3, 4),), modes=("eval",)),
    Case("Dropout2d", lambda nn: nn.Dropout2d(0.3), lambda batch: (normal(batch, 3, 4, 2),), modes=("eval",)),
    Case("AlphaDropout", lambda nn: nn.AlphaDropout(0.3), lambda batch: (normal(batch, 4),), modes=("eval",)),
]
