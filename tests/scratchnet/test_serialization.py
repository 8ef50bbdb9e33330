"""Saving and loading: what goes in comes out, other packages agree, and a crash leaves the old file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import scratchnet as sn
from scratchnet import nn

SUFFIXES = [".safetensors", ".npz"]
# `elements` of complex64 come as complex128 otherwise.
DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]
both_formats = pytest.mark.parametrize("suffix", SUFFIXES)

Arrays = dict[str, np.ndarray[Any, Any]]


@st.composite
def layouts(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Any dtype in either byte order, any shape with zero sizes and 0-d, in any order in memory."""
    kind = draw(st.sampled_from(DTYPES))
    dtype = np.dtype(draw(st.sampled_from("<>")) + kind)
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    array = draw(hnp.arrays(dtype, shape))
    layout = draw(st.sampled_from(["C", "F", "reversed", "strided"]))
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "reversed":
        return array[tuple(slice(None, None, -1) for _ in shape)]
    if layout == "strided":
        return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
    return array


names = st.text(st.characters(exclude_characters="\0\\", exclude_categories=["Cs"]), max_size=12)
states = st.dictionaries(names.filter(lambda name: name != "__metadata__"), layouts(), max_size=5)


def same(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> bool:
    """Equal bit for bit in the machine's byte order; NaNs count as what their bits are."""
    native = right.astype(right.dtype.newbyteorder("="))
    return left.dtype == native.dtype and left.shape == right.shape and left.tobytes() == native.tobytes()


@both_formats
@settings(max_examples=150, deadline=None)
@given(
    state=states, metadata=st.dictionaries(st.text(st.characters(codec="utf-8")), st.text("aé"), max_size=3)
)
def test_what_is_saved_is_what_is_loaded(suffix, tmp_path_factory, state: Arrays, metadata) -> None:
    path = tmp_path_factory.mktemp("law") / f"state{suffix}"
    sn.save(state, path, metadata=metadata)
    loaded = sn.load(path)
    assert list(loaded) == list(state)
    for name, array in state.items():
        assert same(loaded[name], array), name
        assert loaded[name].flags.writeable
    assert sn.load_metadata(path) == metadata


class Whitening(nn.Module):
    """A layer with buffers, as batch normalisation has."""

    mean: np.ndarray[Any, Any]
    batches: np.ndarray[Any, Any]

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.register_buffer("mean", np.zeros(3, np.float32))
        self.register_buffer("batches", np.array(0))

    def forward(self, x: Any) -> Any:
        return (x - self.mean) * self.scale


def network(seed: int) -> nn.Sequential:
    rng = np.random.default_rng(seed)
    whitening = Whitening()
    whitening.mean = rng.normal(size=3).astype(np.float32)
    whitening.batches = np.array(7 + seed)
    return nn.Sequential(nn.Linear(4, 3, rng=rng), whitening, nn.Sequential(nn.Linear(3, 2, rng=rng)))


@both_formats
def test_a_model_comes_back_with_its_buffers(tmp_path: Path, suffix: str) -> None:
    one, other = network(0), network(1)
    sn.save(one, tmp_path / f"model{suffix}")
    other.load_state_dict(sn.load(tmp_path / f"model{suffix}"))
    assert list(other.state_dict()) == list(sn.load(tmp_path / f"model{suffix}"))
    for name, array in one.state_dict().items():
        assert same(other.state_dict()[name], array), name


@both_formats
def test_tensors_and_numbers_are_saved_as_arrays(tmp_path: Path, suffix: str) -> None:
    sn.save({"w": sn.Tensor(np.arange(3.0)), "n": 7, "l": [True]}, tmp_path / f"x{suffix}")
    loaded = sn.load(tmp_path / f"x{suffix}")
    assert [loaded[name].tolist() for name in "wnl"] == [[0.0, 1.0, 2.0], 7, [True]]


@both_formats
def test_the_same_state_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{n}{suffix}" for n in range(2)]
    for path in paths:
        sn.save(network(0), path, metadata={"step": "3"})
    assert paths[0].read_bytes() == paths[1].read_bytes()


# ---------------------------------------------------------------------------------- other packages


EXAMPLES: Arrays = {
    dtype: (np.arange(6).reshape(2, 3) % 2).astype(dtype) for dtype in DTYPES if dtype != "c8"
} | {"c8": np.array([1 + 2j], np.complex64), "zero": np.zeros((0, 3)), "point": np.array(2.5, np.float32)}


def test_the_safetensors_package_reads_ours(tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors.numpy")
    sn.save(EXAMPLES, tmp_path / "x.safetensors", metadata={"from": "us"})
    loaded = package.load_file(tmp_path / "x.safetensors")
    assert loaded.keys() == EXAMPLES.keys()
    assert all(same(loaded[name], array) for name, array in EXAMPLES.items())
    with pytest.importorskip("safetensors").safe_open(tmp_path / "x.safetensors", framework="numpy") as file:
        assert file.metadata() == {"from": "us"}


def test_we_read_the_safetensors_package(tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors.numpy")
    package.save_file(EXAMPLES, tmp_path / "x.safetensors", metadata={"from": "them"})
    loaded = sn.load(tmp_path / "x.safetensors")
    assert loaded.keys() == EXAMPLES.keys()
    assert all(same(loaded[name], array) for name, array in EXAMPLES.items())
    assert sn.load_metadata(tmp_path / "x.safetensors") == {"from": "them"}


def test_torch_models_travel_both_ways(tmp_path: Path) -> None:
    torch, package = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    twin = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    model = nn.Sequential(nn.Linear(4, 3, rng=0), nn.ReLU(), nn.Linear(3, 2, rng=1))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    sn.save(model, tmp_path / "ours.safetensors")
    twin.load_state_dict(package.load_file(tmp_path / "ours.safetensors"))
    np.testing.assert_allclose(twin(torch.from_numpy(x)).detach(), model(x).numpy(), rtol=1e-6, atol=1e-7)
    package.save_file(
        {name: value * 2 for name, value in twin.state_dict().items()}, tmp_path / "theirs.safetensors"
    )
    model.load_state_dict(sn.load(tmp_path / "theirs.safetensors"))
    np.testing.assert_array_equal(model.state_dict()["0.weight"], 2 * twin.state_dict()["0.weight"].numpy())


def test_bfloat16_comes_as_the_float32_of_the_same_value(tmp_path: Path) -> None:
    torch, package = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    every = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    package.save_file({"w": every}, tmp_path / "x.safetensors")
    loaded = sn.load(tmp_path / "x.safetensors")["w"]
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, every.float().numpy())


def test_numpy_reads_and_writes_the_same_npz(tmp_path: Path) -> None:
    sn.save(EXAMPLES, tmp_path / "ours.npz", metadata={"from": "us"})
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as ours:
        assert list(ours) == list(EXAMPLES)
        assert all(same(ours[name], array) for name, array in EXAMPLES.items())
    fortran: dict[str, Any] = {name: np.asfortranarray(array) for name, array in EXAMPLES.items()}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "theirs.npz", **fortran)
        loaded = sn.load(tmp_path / "theirs.npz")
        assert all(same(loaded[name], array) for name, array in fortran.items())
        assert sn.load_metadata(tmp_path / "theirs.npz") == {}


def test_a_large_array_is_unpacked_piece_by_piece(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 9, 3_000_001, dtype=np.uint8)
    np.savez_compressed(tmp_path / "x.npz", w=array)
    np.testing.assert_array_equal(sn.load(tmp_path / "x.npz")["w"], array)


# ------------------------------------------------------------------------------------ what is refused


@both_formats
def test_objects_are_never_saved(tmp_path: Path, suffix: str) -> None:
    for value in (np.array([{}], object), {"nested": 1}, "text", np.array("2020", "M8[D]"), None):
        with pytest.raises(ValueError, match=r"save needs numbers or booleans, got .* for 'w'"):
            sn.save({"w": value}, tmp_path / f"x{suffix}")
    assert not list(tmp_path.iterdir())


def test_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", w=np.array([{}], object))
    with pytest.raises(ValueError, match=r"x\.npz: npz needs numbers or booleans in 'w\.npy', got dtype \|O"):
        sn.load(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", w=np.zeros(2, [("a", "f4"), ("b", "f4")]))
    with pytest.raises(ValueError, match=r"npz needs numbers or booleans in 'w\.npy', got dtype \[\('a'"):
        sn.load(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("state", "name", "error", "message"),
    [
        ({}, "x.pt", ValueError, r"save needs a path that ends in \.safetensors or \.npz, got 'x\.pt'"),
        ({}, "no/x.npz", FileNotFoundError, "save needs a folder that is there, got .*no; make it"),
        ({1: np.ones(1)}, "x.npz", TypeError, "save needs names that are text, got int 1"),
        ({"__metadata__": np.ones(1)}, "x.safetensors", ValueError, "keeps the name __metadata__"),
        (
            {"w": np.ones(1, complex)},
            "x.safetensors",
            ValueError,
            "no dtype for complex128 of 'w'; save it as",
        ),
        ({"a\0b": np.ones(1)}, "x.npz", ValueError, "npz needs a name without NUL or backslash"),
    ],
    ids=["suffix", "folder", "name", "reserved", "dtype", "NUL"],
)
def test_what_cannot_be_saved_is_named(
    tmp_path: Path, state: Any, name: str, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        sn.save(state, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_metadata_is_text_and_small_enough(tmp_path: Path) -> None:
    metadata: Any = {"step": 3}
    with pytest.raises(TypeError, match="save needs metadata of texts by text, got int 3"):
        sn.save({}, tmp_path / "x.npz", metadata=metadata)
    with pytest.raises(ValueError, match="npz needs metadata of at most 65535 bytes, got 70012; save it as"):
        sn.save({}, tmp_path / "x.npz", metadata={"long": "x" * 70_000})


@both_formats
def test_loading_needs_a_file_of_that_format(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(FileNotFoundError):
        sn.load(tmp_path / f"x{suffix}")
    with pytest.raises(ValueError, match="load needs a path that ends in"):
        sn.load(tmp_path / "x.bin")
    (tmp_path / f"x{suffix}").write_bytes(b"")
    with pytest.raises(ValueError, match=f"x{suffix}: {suffix[1:]} needs"):
        sn.load(tmp_path / f"x{suffix}")
    other = next(kind for kind in SUFFIXES if kind != suffix)
    sn.save({"w": np.ones(3)}, tmp_path / f"y{other}")
    (tmp_path / f"y{other}").rename(tmp_path / f"y{suffix}")
    with pytest.raises(ValueError, match=f"y{suffix}: {suffix[1:]} needs"):
        sn.load(tmp_path / f"y{suffix}")


# ------------------------------------------------------------------------------- a crash while writing


@both_formats
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, suffix, monkeypatch) -> None:
    path = tmp_path / f"x{suffix}"
    sn.save({"w": np.ones(3)}, path)
    old = path.read_bytes()

    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        sn.save({"w": np.zeros(500)}, path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


@both_formats
def test_saving_through_a_link_replaces_what_it_points_to(tmp_path: Path, suffix: str) -> None:
    real, link = tmp_path / f"real{suffix}", tmp_path / f"link{suffix}"
    sn.save({"w": np.zeros(1)}, real)
    link.symlink_to(real)
    sn.save({"w": np.ones(1)}, link)
    assert link.is_symlink()
    assert sn.load(real)["w"] == 1
