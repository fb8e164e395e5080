"""The known initializers by name, and the default for a weight that has none."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kinit_cli.initializers.base import InitializerType
from kinit_cli.initializers.constant import CONSTANT_TYPES
from kinit_cli.initializers.jax import JAX_TYPES
from kinit_cli.initializers.random import RANDOM_TYPES
from kinit_cli.initializers.scaling import SCALING_TYPES
from kinit_cli.initializers.stft import STFT_TYPE
from kinit_cli.initializers.torch_random import TORCH_RANDOM_TYPES
from kinit_cli.initializers.torch_scaling import TORCH_SCALING_TYPES
from kinit_cli.initializers.torch_structure import TORCH_STRUCTURE_TYPES

INITIALIZER_TYPES: tuple[InitializerType, ...] = (
    *CONSTANT_TYPES,
    *RANDOM_TYPES,
    *SCALING_TYPES,
    STFT_TYPE,
    *TORCH_SCALING_TYPES,
    *TORCH_RANDOM_TYPES,
    *TORCH_STRUCTURE_TYPES,
    *JAX_TYPES,
)

#: Every name that a spec may use, class names and aliases, to its type.
BY_NAME: Mapping[str, InitializerType] = MappingProxyType(
    {name: kind for kind in INITIALIZER_TYPES for name in (kind.class_name, *kind.names)}
)

#: What Keras's own layers use for weights of these names.
_DEFAULT_BY_WEIGHT: Mapping[str, str] = MappingProxyType(
    {
        "kernel": "glorot_uniform",
        "recurrent_kernel": "orthogonal",
        "embeddings": "random_uniform",
        "bias": "zeros",
        "beta": "zeros",
        "moving_mean": "zeros",
        "gamma": "ones",
        "moving_variance": "ones",
    }
)


def default_initializer(weight: str, *, is_float: bool, rank: int) -> str:
    """Name Keras's default for a weight, by the last part of its name.

    Any other weight gets what Keras's `add_weight` gives: glorot_uniform, or zeros if its dtype
    is not a float.

    >>> default_initializer("lstm_cell/bias", is_float=True, rank=1)
    'zeros'
    """
    if not is_float:
        return "zeros"
    name = _DEFAULT_BY_WEIGHT.get(weight.rsplit("/", 1)[-1], "glorot_uniform")
    return "glorot_uniform" if name == "orthogonal" and rank < 2 else name
