"""Arrays that other people's functions return, of whatever array library, checked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.dtypes import numpy_dtype
from kinit_cli.errors import InitializerError
from kinit_cli.stream.identity import framework_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.draw import Called
    from kinit_cli.plan import TensorPlan

_MAX_MESSAGE = 500


def call_function(draw: Called, tensor: TensorPlan) -> NDArray[Any]:
    """Give the values of a tensor whose initializer is a function.

    Returns
    -------
    array of the tensor's shape and dtype, C-contiguous

    Raises
    ------
    InitializerError
        The function raised, or returned something else than asked for, or values that are not
        finite.
    """
    dtype = tensor.dtype.name
    try:
        returned = draw.function(tensor.shape, dtype, framework_seed(tensor.stream_key))
    except InitializerError:
        raise
    except Exception as error:
        raise _failed(tensor, f"values, got {_fmt_error(error)}") from error
    return _checked(returned, tensor)


def _checked(returned: Any, tensor: TensorPlan) -> NDArray[Any]:
    dtype = numpy_dtype(tensor.dtype.name)
    try:
        values = as_numpy(returned)
    except Exception as error:
        got = f"{type(returned).__name__} ({_fmt_error(error)})"
        raise _failed(tensor, f"an array, got {got}") from error
    if values.shape != tensor.shape:
        raise _failed(tensor, f"shape {list(tensor.shape)}, got {list(values.shape)}")
    if values.dtype.newbyteorder("=") != dtype:
        raise _failed(
            tensor,
            f"dtype {dtype.name}, got {values.dtype}",
            "return values of the dtype that it is called with",
        )
    if dtype.kind not in "iub" and not (is_finite := np.isfinite(values)).all():
        index = tuple(map(int, np.argwhere(~is_finite)[0])) if values.ndim else ()
        n_bad = values.size - int(is_finite.sum())
        where = f"{values[index]} at {list(index)}"
        raise _failed(tensor, f"finite values, got {n_bad:,} that are not, the first {where}")
    return np.ascontiguousarray(values, dtype).reshape(tensor.shape)


def as_numpy(values: Any) -> NDArray[Any]:
    """Give an array of NumPy, TensorFlow, PyTorch, JAX or Keras as a NumPy array.

    Raises
    ------
    Exception
        Whatever the library raises if it cannot.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values, torch.Tensor):
        return _of_torch(values, torch)
    array = np.asarray(values)
    if array.dtype.hasobject:
        raise TypeError("it holds no numbers")
    return array


def _of_torch(values: Any, torch: Any) -> NDArray[Any]:
    values = values.detach().cpu().contiguous()
    if values.dtype == torch.bfloat16:
        bits: NDArray[Any] = values.view(torch.int16).numpy()
        return bits.view(numpy_dtype("bfloat16"))
    array: NDArray[Any] = values.numpy()
    return array


def _failed(tensor: TensorPlan, what: str, hint: str = "") -> InitializerError:
    name = tensor.initializer.type.names[0]
    text = f"{tensor.path}: initializer {name!r}: expected {what}"
    return InitializerError(f"{text}; {hint}" if hint else text)


def _fmt_error(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + " ..."
