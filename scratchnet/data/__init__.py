"""Small data sets, real and made, and a loader that deals them out in batches."""

from scratchnet.data.characters import Characters, load_characters, sequences
from scratchnet.data.dataset import Dataset, Subset, TensorDataset, collate, random_split
from scratchnet.data.digits import load_digits
from scratchnet.data.idx import load_mnist, read_idx
from scratchnet.data.loader import DataLoader
from scratchnet.data.split import Split, train_test_split
from scratchnet.data.synthetic import make_blobs, make_circles, make_moons, make_spirals

__all__ = [
    "Characters",
    "DataLoader",
    "Dataset",
    "Split",
    "Subset",
    "TensorDataset",
    "collate",
    "load_characters",
    "load_digits",
    "load_mnist",
    "make_blobs",
    "make_circles",
    "make_moons",
    "make_spirals",
    "random_split",
    "read_idx",
    "sequences",
    "train_test_split",
]
