"""Looking at a model without a trace."""

import numpy as np
import pytest

from scratchnet import nn
from scratchnet.undisturbed import undisturbed

X = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(4, 3, rng=0), nn.BatchNorm1d(3), nn.Dropout(0.5, rng=1))


def test_buffers_modes_and_random_states_are_as_they_were_even_after_an_error(model):
    norm, dropout = model[1], model[2]
    norm.eval()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    state = dropout._generator.bit_generator.state
    with pytest.raises(ZeroDivisionError), undisturbed(model):
        model.train()
        model(X)
        norm.running_var = np.zeros(3)  # Replaced, and not only written into.
        raise ZeroDivisionError
    assert [module.training for module in model] == [True, False, True]
    assert dropout._generator.bit_generator.state == state
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    assert norm.running_var is norm._buffers["running_var"]


def test_nobody_hears_of_it_and_who_listened_listens_again(model):
    heard = []
    model.register_forward_hook(lambda *_: heard.append("before"))
    with undisturbed(model):
        model.register_forward_hook(lambda *_: heard.append("inside"))
        model(X)
    assert heard == ["inside"]
    model(X)
    assert heard == ["inside", "before"]
