import numpy as np
import pytest

from probes import block_hvp, bottom_eigenvalues, top_eigenvalues
from tests.probes.curvature.matrices import Counted, wishart


@pytest.mark.parametrize("block", [slice(0, 4), slice(4, 9), slice(8, 9), slice(0, 9)], ids=str)
def test_a_block_multiplies_as_the_submatrix_does(block, in_library):
    matrix = wishart(9)
    vector = np.random.default_rng(0).standard_normal(block.stop - block.start)
    found = block_hvp(Counted(in_library(matrix)), block, 9)(in_library(vector))
    np.testing.assert_allclose(np.asarray(found), matrix[block, block] @ vector, rtol=1e-12)


def test_sharpness_of_a_layer_is_that_of_its_block_and_within_the_whole(in_library):
    matrix, block = wishart(60), slice(10, 40)
    tensor = in_library(matrix)
    found = top_eigenvalues(block_hvp(Counted(tensor), block, 60), 30, k=2, tol=1e-8, rng=0, like=tensor)
    expected = np.linalg.eigvalsh(matrix[block, block])[::-1][:2]
    np.testing.assert_allclose(np.asarray(found.values), expected, rtol=1e-12)
    assert expected[0] <= np.linalg.eigvalsh(matrix)[-1]


def test_a_product_with_a_block_is_one_product_with_the_whole():
    product = Counted(wishart(9))
    found = bottom_eigenvalues(block_hvp(product, slice(2, 7), 9), 5, k=2, rng=0)
    assert product.calls == found.products


@pytest.mark.parametrize(
    "block", [slice(3, 3), slice(4, 2), slice(2, 10), slice(-3, None), slice(0, 4, 2), slice(9, 12)], ids=str
)
def test_a_slice_that_is_no_run_of_weights_is_refused(block):
    with pytest.raises(
        ValueError, match=r"needs a slice\(first, end\) with 0 <= first < end <= dim, got slice"
    ):
        block_hvp(Counted(np.eye(9)), block, 9)


def test_a_vector_of_the_whole_is_refused():
    product = block_hvp(Counted(np.eye(9)), slice(2, 5), 9)
    with pytest.raises(
        ValueError, match=r"needs vectors of shape \(3,\), got \(9,\); give the measure the size"
    ):
        product(np.ones(9))


@pytest.mark.parametrize("image", [np.ones(8), np.ones(10), np.ones((9, 1)), [1.0] * 9], ids=lambda _: "")
def test_a_product_of_another_length_is_refused(image):
    with pytest.raises(ValueError, match=r"needs hvp to return a vector of shape \(9,\), got (ndarray|list)"):
        block_hvp(lambda v: image, slice(2, 5), 9)(np.ones(3))
