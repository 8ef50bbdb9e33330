"""The handwritten digits that come with scikit-learn."""

import numpy as np

from scratchnet.data.split import Split, train_test_split
from scratchnet.rng import RNGLike


def load_digits(*, test_size: float = 0.2, rng: RNGLike = 0) -> Split:
    """The 1,797 handwritten 8 × 8 digits that scikit-learn carries, shuffled, split and standardised.

    Each of the 64 pixels is shifted and scaled by its mean and standard deviation over the training part;
    a pixel that never changes there becomes zero.

    Args:
        test_size: Share of the examples that is kept for the test, in (0, 1).
        rng: Generator, seed or None for the shuffle.

    Returns:
        float32 images of shape ``(n, 64)`` and int64 labels in 0..9 of shape ``(n,)``.

    Raises:
        ValueError: If ``test_size`` leaves either part empty.
    """
    from sklearn.datasets import load_digits as bundled  # a slow import, which only this function needs

    images, labels = bundled(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels.astype(np.int64), test_size=test_size, rng=rng
    )
    mean, std = x_train.mean(axis=0), x_train.std(axis=0)
    varies = std > 0
    train, test = (
        ((x - mean) / np.where(varies, std, 1.0) * varies).astype(np.float32) for x in (x_train, x_test)
    )
    return Split(train, y_train, test, y_test)
