"""Initializers by the names of weights, as PyTorch's, Keras's and JAX's libraries have them.

A name is a hint and no more, so these are a beginning to be edited: what normalizes begins as the
identity, what is added as zero, what is looked up or multiplied with as noise of a usual size.
"""

from __future__ import annotations

from typing import Any

_ONES = frozenset(
    ("gamma", "scale", "moving_variance", "running_var", "var", "layer_scale", "logit_scale")
)
_ZEROS = frozenset(("bias", "beta", "moving_mean", "running_mean", "mean", "num_batches_tracked"))
#: Parts of a name that stand for a table to be looked up in, besides those with `embed` in them.
_TABLES = frozenset(("wte", "wpe"))

#: What PyTorch's Linear and Conv draw their weights from: ±1 / sqrt(fan_in).
_TORCH_KERNEL: dict[str, Any] = {"kaiming_uniform": {"a": "sqrt(5)"}}
_TABLE: dict[str, Any] = {"random_normal": {"stddev": 0.02}}
_KERNEL = "glorot_uniform"

#: In a Keras 3 file a variable has a number and no name; by the class of its layer.
_BY_KERAS_CLASS = {
    "batch_normalization": ("ones", "zeros", "zeros", "ones"),
    "layer_normalization": ("ones", "zeros"),
    "group_normalization": ("ones", "zeros"),
    "rms_normalization": ("ones",),
    "normalization": ("zeros", "ones"),
    "embedding": ("random_uniform",),
    "cell": (_KERNEL, "orthogonal", "zeros"),
}


def initializer_for(path: str, shape: tuple[int, ...], *, is_float: bool, is_torch: bool) -> Any:
    """Give an initializer for a weight, as a spec writes it.

    Parameters
    ----------
    path : str
        Parts joined by '/'; a `:0` behind the last one, as tf.keras has it, is not looked at.
    is_torch : bool
        The names in the file are PyTorch's: `weight` is any layer's.

    >>> initializer_for("h/0/ln/weight", (768,), is_float=True, is_torch=True)
    'ones'
    >>> initializer_for("dense/kernel:0", (3, 4), is_float=True, is_torch=False)
    'glorot_uniform'
    """
    if not is_float or 0 in shape:
        return "zeros"
    parts = path.lower().split("/")
    last = parts[-1].partition(":")[0]
    if parts[-2:-1] == ["vars"] and last.isdecimal():
        return _of_keras_variable(parts, int(last), len(shape))
    if last in _ONES:
        return "ones"
    if last in _ZEROS or "bias" in last:
        return "zeros"
    if len(shape) < 2:
        return "ones" if last == "weight" or "norm" in last else "zeros"
    if last == "embeddings":
        return "random_uniform"
    if any("embed" in part or part in _TABLES for part in parts):
        return _TABLE
    if last == "recurrent_kernel":
        return "orthogonal"
    return _TORCH_KERNEL if is_torch else _KERNEL


def _of_keras_variable(parts: list[str], number: int, rank: int) -> str:
    layer = parts[-3].rstrip("0123456789").removesuffix("_") if len(parts) > 2 else ""
    of_class = _BY_KERAS_CLASS.get(layer, ())
    if number < len(of_class) and (rank >= 2 or of_class[number] in ("ones", "zeros")):
        return of_class[number]
    return _KERNEL if rank >= 2 else "zeros"
