"""Layers that give activations mean 0 and variance 1, over a batch, an example or groups of channels."""

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn.module import Module, Parameter, check_sizes
from scratchnet.tape import Array
from scratchnet.tensor import Tensor


class _Norm(Module):
    """Weights, biases and running statistics for each channel, any of which may be left out."""

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Array | None
    running_var: Array | None
    num_batches_tracked: Array | None
    # Which numbers of axes the input may have, and their names for the error.
    dimensions: tuple[int, ...] = ()
    axes = ""

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool
    ) -> None:
        super().__init__()
        check_sizes(self, num_features=num_features)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if track_running_stats:
            self.register_buffer("running_mean", np.zeros(num_features, np.float32))
            self.register_buffer("running_var", np.ones(num_features, np.float32))
            self.register_buffer("num_batches_tracked", np.zeros((), np.int64))

    def _check(self, x: Tensor | Array, channels: int) -> None:
        if x.ndim not in self.dimensions or x.shape[channels] != self.num_features:
            raise ValueError(
                f"{type(self).__name__} needs an input of shape {self.axes} with {self.num_features} channels, "
                f"got {x.shape}"
            )

    def _next_momentum(self) -> float:
        """How far the running statistics move at the next batch."""
        if self.momentum is not None or self.num_batches_tracked is None:
            return self.momentum or 0.0
        return 1 / (int(self.num_batches_tracked) + 1)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Norm):
    """A mean and a variance for each channel over the batch."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)

    def forward(self, x: Tensor | Array) -> Tensor:
        """See the class."""
        x = x if isinstance(x, Tensor) else np.asarray(x)
        self._check(x, channels=1)
        takes_batch = self.training or self.running_mean is None
        output = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            takes_batch,
            self._next_momentum() if self.training else 0.0,
            self.eps,
        )
        # Behind the computation, for a batch that is refused has not been seen.
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
        return output


class BatchNorm1d(_BatchNorm):
    """Normalises each feature over the batch, y = w (x − μ) / √(σ² + ε) + b.

    In training mode μ and σ² are the batch's mean and biased variance, and running averages follow them;
    in evaluation mode these take their place. With x̂ = (y − b) / w, h = w ȳ and averages ⟨·⟩ over the batch,
    the training gradient is x̄ = (h − ⟨h⟩ − x̂ ⟨h x̂⟩) / √(σ² + ε), w̄ = Σ ȳ x̂, b̄ = Σ ȳ: it depends on the
    whole batch, as y does.

    Args:
        num_features: Number of features or channels.
        eps: ε.
        momentum: Share of the new batch in the running averages; None for the plain average of all batches.
        affine: False leaves w and b out.
        track_running_stats: False keeps no averages, and evaluation mode then uses the batch's own.

    Attributes:
        running_mean: Running average of μ.
        running_var: Running average of the unbiased variance.
        num_batches_tracked: Number of batches seen in training mode.

    Shape:
        ``(batch, features)`` or ``(batch, channels, length)``, and the same.

    Raises:
        ValueError: If the shape does not fit, or a training batch has one value a channel.

    Example:
        >>> layer = BatchNorm1d(1)
        >>> layer(np.array([[1.0], [3.0]])).numpy().round(3)
        array([[-1.],
               [ 1.]], dtype=float32)
        >>> layer.running_mean
        array([0.2], dtype=float32)

    References:
        Ioffe and Szegedy, "Batch Normalization", 2015, arXiv:1502.03167.
    """

    dimensions = (2, 3)
    axes = "(batch, features) or (batch, channels, length)"


class BatchNorm2d(_BatchNorm):
    """Normalises each channel of images over the batch and all positions; see `BatchNorm1d`.

    Args:
        num_features: Number of channels.
        eps: ε.
        momentum: Share of the new batch in the running averages; None for the plain average of all batches.
        affine: False leaves w and b out.
        track_running_stats: False keeps no averages, and evaluation mode then uses the batch's own.

    Shape:
        ``(batch, channels, height, width)``, and the same.

    Raises:
        ValueError: If the shape does not fit, or a training batch has one value a channel.
    """

    dimensions = (4,)
    axes = "(batch, channels, height, width)"


class _InstanceNorm(_Norm):
    """A mean and a variance for each channel of each example."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)

    def forward(self, x: Tensor | Array) -> Tensor:
        """See the class."""
        x = x if isinstance(x, Tensor) else np.asarray(x)
        is_batch = x.ndim == max(self.dimensions)
        self._check(x, channels=int(is_batch))
        batched = x if is_batch else x.reshape(1, *x.shape)
        y = F.instance_norm(
            batched,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self.momentum or 0.0,
            self.eps,
        )
        return y if is_batch else y.reshape(x.shape)


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each sequence by itself, y = w (x − μ) / √(σ² + ε) + b.

    μ and σ² are the mean and the biased variance over the positions of one channel of one example; the
    gradient is that of `BatchNorm1d` with averages over these.

    Args:
        num_features: Number of channels.
        eps: ε.
        momentum: Share of the new batch in the running averages.
        affine: True learns w and b.
        track_running_stats: True keeps averages over batch and time, which evaluation mode then uses.

    Shape:
        ``(batch, channels, length)`` or ``(channels, length)``, and the same.

    Raises:
        ValueError: If the shape does not fit, or there is one position only.

    References:
        Ulyanov et al., "Instance Normalization", 2016, arXiv:1607.08022.
    """

    dimensions = (2, 3)
    axes = "(batch, channels, length) or (channels, length)"


class InstanceNorm2d(_InstanceNorm):
    """Normalises each channel of each image by itself; see `InstanceNorm1d`.

    Args:
        num_features: Number of channels.
        eps: ε.
        momentum: Share of the new batch in the running averages.
        affine: True learns w and b.
        track_running_stats: True keeps averages over batch and time, which evaluation mode then uses.

    Shape:
        ``(batch, channels, height, width)`` or ``(channels, height, width)``, and the same.

    Raises:
        ValueError: If the shape does not fit, or there is one position only.
    """

    dimensions = (3, 4)
    axes = "(batch, channels, height, width) or (channels, height, width)"


class GroupNorm(Module):
    """Normalises groups of channels of each example, y = w (x − μ) / √(σ² + ε) + b.

    μ and σ² are the mean and the biased variance over positions and the channels of a group, w and b
    a number for each channel. Nothing depends on the batch, and training and evaluation are the same.
    The gradient is that of `BatchNorm1d` with averages over a group.

    Args:
        num_groups: Number of groups; 1 normalises a whole example, ``num_channels`` is `InstanceNorm2d`.
        num_channels: Number of channels, a multiple of it.
        eps: ε.
        affine: False leaves w and b out.

    Shape:
        ``(batch, channels, ...)``, and the same.

    Raises:
        ValueError: If the shape does not fit, the groups do not divide the channels, or a group has one value.

    References:
        Wu and He, "Group Normalization", 2018, arXiv:1803.08494.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        if num_groups < 1 or num_channels < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm needs a number of groups that divides the channels, "
                f"got {num_groups} groups and {num_channels} channels"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.weight = Parameter(np.ones(num_channels, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, np.float32)) if affine else None

    def forward(self, x: Tensor | Array) -> Tensor:
        """See the class."""
        if np.ndim(x) < 2 or np.shape(x)[1] != self.num_channels:
            raise ValueError(
                f"GroupNorm needs an input of shape (batch, {self.num_channels}, ...), got {np.shape(x)}"
            )
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        affine = self.weight is not None
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={affine}"


class LocalResponseNorm(Module):
    """Divides each channel by the strength of its neighbours, y = x / (k + α ⟨x²⟩)^β.

    The average ⟨·⟩ goes over a window of ``size`` channels at the same position, with zeros outside. With
    d = k + α ⟨x²⟩, x̄ = ȳ d^−β − 2 (α β / size) x Σ ȳ x d^(−β−1), the sum over all windows that hold x.

    Args:
        size: Number of channels in the window.
        alpha: α.
        beta: β.
        k: k.

    Shape:
        ``(batch, channels, ...)``, and the same.

    Raises:
        ValueError: If there is no axis behind the channels.

    References:
        Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Tensor | Array) -> Tensor:
        """See the class."""
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
