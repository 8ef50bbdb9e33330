"""How much of a mini-batch's gradient is signal, and how much is the luck of the draw.

`gradient_noise` and `GradientNoiseScale` need no more than norms of gradients over batches of two sizes, so
that every training run can afford them. The tests of the batch size and the signal-to-noise ratio need the
gradient of each example; `linear_example_products` and `GradientMoments` get by without holding those of a
large layer.
"""

from probes.noise.examples import (
    ExampleProducts,
    example_products,
    joined_examples,
    linear_example_products,
    summed_tensors,
)
from probes.noise.moments import GradientMoments, SignalToNoise, gradient_signal_to_noise
from probes.noise.sampling import inner_product_test, norm_test, orthogonality_test
from probes.noise.scale import GradientNoise, GradientNoiseScale, example_noise, gradient_noise

__all__ = [
    "ExampleProducts",
    "GradientMoments",
    "GradientNoise",
    "GradientNoiseScale",
    "SignalToNoise",
    "example_noise",
    "example_products",
    "gradient_noise",
    "gradient_signal_to_noise",
    "inner_product_test",
    "joined_examples",
    "linear_example_products",
    "norm_test",
    "orthogonality_test",
    "summed_tensors",
]
