"""Where random numbers come from: an explicit generator, a seed, or fresh entropy; never a global state."""

import numpy as np

RNGLike = np.random.Generator | int | None
