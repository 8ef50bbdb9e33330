"""How much of a gradient is noise, from chunks of a fixed batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

import probes
from diag.capture import Capture
from diag.events import Reading
from diag.on_probe_batch.look import Closure, check_closures, check_numbers
from probes.arrays import norms


@dataclass(frozen=True)
class Noise:
    """Signal and noise of the gradient, from equal chunks of a batch; see `Recorder.noise`."""

    closures: Sequence[Closure]
    examples: int
    work = "noise"
    is_beside_the_rest = True

    def __post_init__(self) -> None:
        check_closures(self.work, self.closures)
        check_numbers(self.work, examples=self.examples)
        if len(self.closures) < 2:
            raise ValueError(
                f"noise needs two closures at least, got {len(self.closures)}; cut the batch into chunks, "
                f"one for each"
            )

    def readings(self, capture: Capture) -> Iterator[Reading]:
        """See the class."""
        sizes, count = [], len(self.closures)
        total = list(capture.gradients(self.closures[0]))
        sizes.append(probes.combined_norm(norms(total)))
        for closure in self.closures[1:]:
            gradients = capture.gradients(closure)
            sizes.append(probes.combined_norm(norms(gradients)))
            total = [so_far + each for so_far, each in zip(total, gradients, strict=True)]
        of_chunks = float(np.sqrt(np.mean(probes.to_host(sizes) ** 2)))
        of_all = float(probes.combined_norm(norms(total))) / count
        noise = probes.gradient_noise(np.array([of_chunks, of_all]), (self.examples, count * self.examples))
        yield Reading("gradient_noise_scale", "", float(noise.scale), "network")
        yield Reading("gradient_noise_squared_norm", "", float(noise.squared_norm), "network")
        yield Reading("gradient_noise_variance", "", float(noise.variance), "network")
        yield Reading("gradient_noise_examples", "", count * self.examples, "network")
