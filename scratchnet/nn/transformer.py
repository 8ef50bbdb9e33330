"""The transformer: layers of attention and feed-forward networks, their stacks, and the whole."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn import init
from scratchnet.nn.attention import MultiheadAttention
from scratchnet.nn.cache import KVCache
from scratchnet.nn.container import ModuleList
from scratchnet.nn.dropout import Dropout
from scratchnet.nn.functional.attention import causal_mask
from scratchnet.nn.layer_norm import LayerNorm
from scratchnet.nn.linear import Linear
from scratchnet.nn.module import Module
from scratchnet.rng import RNGLike
from scratchnet.tape import Array
from scratchnet.tensor import Tensor

Activation = str | Callable[[Any], Any]


class _Layer(Module):
    """What encoder and decoder layers share: their parts, in PyTorch's order, and how one part is added."""

    # A decoder layer has attention to a memory between its two other parts.
    has_memory = False
    multihead_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    norm3: LayerNorm
    dropout1: Dropout
    dropout2: Dropout
    dropout3: Dropout

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        rng: RNGLike = None,
    ) -> None:
        super().__init__()
        generator = np.random.default_rng(rng)

        def attention() -> MultiheadAttention:
            return MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, rng=generator)

        self.self_attn = attention()
        if self.has_memory:
            self.multihead_attn = attention()
        self.linear1 = Linear(d_model, dim_feedforward, bias, rng=generator)
        self.dropout = Dropout(dropout, rng=generator)
        self.linear2 = Linear(dim_feedforward, d_model, bias, rng=generator)
        self.norm_first = norm_first
        parts = range(1, 4 if self.has_memory else 3)
        for number in parts:
            setattr(self, f"norm{number}", LayerNorm(d_model, layer_norm_eps, bias=bias))
        for number in parts:
            setattr(self, f"dropout{number}", Dropout(dropout, rng=generator))
        self.activation = _activation(type(self).__name__, activation)

    def _add(self, x: Any, part: Callable[[Any], Tensor], norm: Module, dropout: Module) -> Any:
        """The input plus what a part makes of it, with the norm before the part or after the sum."""
        return x + dropout(part(norm(x))) if self.norm_first else norm(x + dropout(part(x)))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention, then a feed-forward network at each position, each added to what it was given.

    With attention A, network f(x) = activation(x W₁ᵀ + b₁) W₂ᵀ + b₂ and layer norms N:
    y = N₁(x + A(x)), z = N₂(y + f(y)); with ``norm_first`` y = x + A(N₁(x)), z = y + f(N₂(y)), which
    trains without a warm-up. Gradients pass the sums unchanged, beside those of the parts.

    Args:
        d_model: Columns of the input.
        nhead: Heads; a divisor of ``d_model``.
        dim_feedforward: Columns inside the network.
        dropout: Probability, after attention's weights, after each part, and inside the network.
        activation: ``"relu"``, ``"gelu"``, or a function.
        layer_norm_eps: ε of the norms.
        batch_first: Whether the batch is the first axis; if not, the second.
        norm_first: Whether the norms stand before the parts instead of after the sums.
        bias: False leaves out all biases.
        rng: Where first values and dropout draw from: a generator, a seed, or None for fresh entropy.

    A call takes ``(src, src_mask, src_key_padding_mask, is_causal)``, the masks as in
    `MultiheadAttention` (``is_causal`` needs no mask beside it), and a `KVCache` as ``cache``. With
    ``is_causal`` it is also the layer of a decoder-only network; for rotary positions set its
    ``self_attn.rotary``.

    Shape:
        ``(batch, positions, d_model)``, or without a batch; kept.

    Raises:
        ValueError: If sizes or shapes do not fit, or the activation is unknown.

    Example:
        >>> layer = TransformerEncoderLayer(8, 2, 16, batch_first=True, rng=0)
        >>> layer(np.zeros((3, 5, 8), np.float32)).shape
        (3, 5, 8)

    References:
        Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762. Norms first: Xiong et al.,
        "On Layer Normalization in the Transformer Architecture", 2020, arXiv:2002.04745.
    """

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
        *,
        cache: KVCache | None = None,
    ) -> Tensor:
        """See the class."""

        def attend(x: Any) -> Tensor:
            y, _ = self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal, cache=cache
            )
            return y

        x = self._add(src, attend, self.norm1, self.dropout1)
        return self._add(x, self._feed_forward, self.norm2, self.dropout2)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's output, and a feed-forward network, each added to its input.

    As `TransformerEncoderLayer`, with a third part between the two: queries from here, keys and values
    from the memory.

    Args:
        d_model: Columns of the input and of the memory.
        nhead: Heads; a divisor of ``d_model``.
        dim_feedforward: Columns inside the network.
        dropout: Probability, after attention's weights, after each part, and inside the network.
        activation: ``"relu"``, ``"gelu"``, or a function.
        layer_norm_eps: ε of the norms.
        batch_first: Whether the batch is the first axis; if not, the second.
        norm_first: Whether the norms stand before the parts instead of after the sums.
        bias: False leaves out all biases.
        rng: Where first values and dropout draw from: a generator, a seed, or None for fresh entropy.

    A call takes ``(tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
    tgt_is_causal, memory_is_causal)``, the masks as in `MultiheadAttention`, and a `KVCache` as
    ``cache``, which keeps the memory's keys and values too.

    Shape:
        ``(batch, positions, d_model)`` and ``(batch, memory positions, d_model)``, or both without a
        batch; as the first.

    Raises:
        ValueError: If sizes or shapes do not fit, or the activation is unknown.

    Example:
        >>> layer = TransformerDecoderLayer(8, 2, 16, batch_first=True, rng=0)
        >>> layer(np.zeros((3, 5, 8), np.float32), np.zeros((3, 7, 8), np.float32)).shape
        (3, 5, 8)

    References:
        Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762.
    """

    has_memory = True

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        *,
        cache: KVCache | None = None,
    ) -> Tensor:
        """See the class."""

        def attend(x: Any) -> Tensor:
            y, _ = self.self_attn(
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal, cache=cache
            )
            return y

        def look_up(x: Any) -> Tensor:
            masks = {"key_padding_mask": memory_key_padding_mask, "attn_mask": memory_mask}
            causal = {"is_causal": memory_is_causal, "cache": cache}
            y, _ = self.multihead_attn(x, memory, memory, need_weights=False, **masks, **causal)
            return y

        x = self._add(tgt, attend, self.norm1, self.dropout1)
        x = self._add(x, look_up, self.norm2, self.dropout2)
        return self._add(x, self._feed_forward, self.norm3, self.dropout3)


class TransformerEncoder(Module):
    """Copies of an encoder layer, one after another.

    As in PyTorch all copies start with the weights of the layer that is given.

    Args:
        encoder_layer: A `TransformerEncoderLayer`, or any module that is called as one.
        num_layers: Number of copies.
        norm: Applied to the last output; wanted where the layers have ``norm_first``.
        enable_nested_tensor: Taken for PyTorch's sake; there is nothing that it would change.
        mask_check: Likewise.

    A call takes ``(src, mask, src_key_padding_mask, is_causal)`` and ``cache``, as the layers do.

    Raises:
        ValueError: If ``num_layers`` is less than 1.

    Example:
        >>> layer = TransformerEncoderLayer(8, 2, 16, batch_first=True, rng=0)
        >>> TransformerEncoder(layer, 2)(np.zeros((3, 5, 8), np.float32)).shape
        (3, 5, 8)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies("TransformerEncoder", encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
        *,
        cache: KVCache | None = None,
    ) -> Tensor:
        """See the class."""
        options = {} if cache is None else {"cache": cache}
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal, **options)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """Copies of a decoder layer, one after another, all with the same memory.

    As in PyTorch all copies start with the weights of the layer that is given.

    Args:
        decoder_layer: A `TransformerDecoderLayer`, or any module that is called as one.
        num_layers: Number of copies.
        norm: Applied to the last output; wanted where the layers have ``norm_first``.

    A call takes what `TransformerDecoderLayer` takes.

    Raises:
        ValueError: If ``num_layers`` is less than 1.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies("TransformerDecoder", decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, tgt: Any, memory: Any, *masks: Any, **options: Any) -> Tensor:
        """See the class."""
        for layer in self.layers:
            tgt = layer(tgt, memory, *masks, **options)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder, and a decoder that looks at its output, both with a layer norm at the end.

    As in PyTorch all matrices start Xavier uniform, and the layers of a stack start equal.

    Args:
        d_model: Columns of source and target.
        nhead: Heads; a divisor of ``d_model``.
        num_encoder_layers: Layers of the encoder.
        num_decoder_layers: Layers of the decoder.
        dim_feedforward: Columns inside the feed-forward networks.
        dropout: Probability, as in the layers.
        activation: ``"relu"``, ``"gelu"``, or a function.
        custom_encoder: Takes the encoder's place.
        custom_decoder: Takes the decoder's place.
        layer_norm_eps: ε of the norms.
        batch_first: Whether the batch is the first axis; if not, the second.
        norm_first: Whether the norms stand before the parts instead of after the sums.
        bias: False leaves out all biases.
        rng: Where first values and dropout draw from: a generator, a seed, or None for fresh entropy.

    A call takes ``(src, tgt, src_mask, tgt_mask, memory_mask, src_key_padding_mask,
    tgt_key_padding_mask, memory_key_padding_mask, src_is_causal, tgt_is_causal, memory_is_causal)``.

    Raises:
        ValueError: If sizes or shapes do not fit, or the activation is unknown.

    References:
        Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        rng: RNGLike = None,
    ) -> None:
        super().__init__()
        generator = np.random.default_rng(rng)
        options: dict[str, Any] = {
            "d_model": d_model,
            "nhead": nhead,
            "dim_feedforward": dim_feedforward,
            "dropout": dropout,
            "activation": activation,
            "layer_norm_eps": layer_norm_eps,
            "batch_first": batch_first,
            "norm_first": norm_first,
            "bias": bias,
            "rng": generator,
        }
        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(**options),
            num_encoder_layers,
            LayerNorm(d_model, layer_norm_eps, bias=bias),
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(**options),
            num_decoder_layers,
            LayerNorm(d_model, layer_norm_eps, bias=bias),
        )
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter, rng=generator)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool = False,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """See the class."""
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask,
            memory_mask,
            tgt_key_padding_mask,
            memory_key_padding_mask,
            tgt_is_causal,
            memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int) -> Array:
        """−∞ above the diagonal, 0 elsewhere: hides what comes later.

        Example:
            >>> Transformer.generate_square_subsequent_mask(2)
            array([[  0., -inf],
                   [  0.,   0.]], dtype=float32)
        """
        return causal_mask(sz, sz).astype(np.float32)


def _activation(name: str, activation: Activation) -> Callable[[Any], Any]:
    if callable(activation):
        return activation
    if activation not in ("relu", "gelu"):
        raise ValueError(f"{name} needs activation 'relu', 'gelu' or a function, got {activation!r}")
    return F.relu if activation == "relu" else F.gelu


def _copies(name: str, layer: Module, count: int) -> ModuleList:
    if count < 1:
        raise ValueError(f"{name} needs num_layers >= 1, got {count}")
    # Generators stay shared: copied ones would drop the same elements in every layer.
    shared = {
        id(value): value
        for module in layer.modules()
        for value in vars(module).values()
        if isinstance(value, np.random.Generator)
    }
    return ModuleList(copy.deepcopy(layer, dict(shared)) for _ in range(count))
