"""The model as the log keeps it."""

import h5py
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.events import Criterion, Layer, Model, Optimizer, Parameter
from diag.log.model import read_model, write_model

NAME = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
SHAPE = st.lists(st.integers(0, 10**6), max_size=3).map(tuple)
HYPERPARAMETER = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NAME,
    lambda inner: st.lists(inner, max_size=2).map(tuple) | st.dictionaries(NAME, inner, max_size=2),
    max_leaves=4,
)
MODELS = st.builds(
    Model,
    layers=st.lists(
        st.builds(Layer, NAME, NAME, SHAPE, st.lists(NAME, max_size=2).map(tuple)), max_size=3
    ).map(tuple),
    parameters=st.lists(
        st.builds(
            Parameter, NAME, NAME, SHAPE, st.booleans(), st.integers(1, 8), st.booleans(), st.booleans()
        ),
        max_size=3,
    ).map(tuple),
    optimizers=st.lists(
        st.builds(Optimizer, NAME, NAME, st.dictionaries(NAME, HYPERPARAMETER, max_size=3)), max_size=2
    ).map(tuple),
    criteria=st.lists(st.builds(Criterion, NAME, NAME, NAME), max_size=2).map(tuple),
)


def in_memory(model: Model) -> Model:
    with h5py.File("model.h5", "w", driver="core", backing_store=False) as file:
        write_model(file, model)
        return read_model(file)


@settings(max_examples=50)
@given(MODELS)
def test_a_model_comes_back(model):
    assert in_memory(model) == model


def test_a_log_of_before_these_were_kept_is_still_read():
    model = Model(parameters=(Parameter("w", "", (2,), shards=3, requires_grad=False, is_uniform=True),))
    with h5py.File("model.h5", "w", driver="core", backing_store=False) as file:
        write_model(file, model)
        for name in [name for name in file if name.startswith("criterion")]:
            del file[name]
        del file["parameter_requires_grad"], file["parameter_shards"], file["parameter_is_uniform"]
        assert read_model(file) == Model(parameters=(Parameter("w", "", (2,)),))


def test_hyperparameters_that_json_cannot_carry_come_back_as_numbers_or_text():
    optimizer = Optimizer("", "Adam", {"lr": np.float32(0.5), "betas": [0.9, 0.99], "device": complex(0, 1)})
    (stored,) = in_memory(Model(optimizers=(optimizer,))).optimizers
    assert stored.hyperparameters == {"lr": 0.5, "betas": (0.9, 0.99), "device": "1j"}


def test_a_viewer_sees_columns_of_fixed_width_text(model):
    with h5py.File("model.h5", "w", driver="core", backing_store=False) as file:
        write_model(file, model)
        assert file["layer_kind"].asstr()[()].tolist() == ["Linear", "ReLU", "Linear"]
        assert all(h5py.check_vlen_dtype(dataset.dtype) is None for dataset in file.values())
