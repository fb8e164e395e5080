"""Arrays that other people's functions return, of whatever array library, checked and copied."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.dtypes import numpy_dtype
from kinit_cli.errors import InitializerError
from kinit_cli.foreign_code import ForeignCodeError, foreign_code
from kinit_cli.stream.identity import framework_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kinit_cli.draw import Called
    from kinit_cli.plan import TensorPlan

#: Elements that are looked at together for NaN and infinities.
_CHUNK_ELEMENTS = 2**20


def call_function(draw: Called, tensor: TensorPlan) -> NDArray[Any]:
    """Give the values of a tensor whose initializer is a function.

    They are a copy, since the function may return the same memory again the next time. So a tensor
    is in memory twice for a moment, and once until it is written.

    Returns
    -------
    array of the tensor's shape and dtype, C-contiguous

    Raises
    ------
    InitializerError
        The function raised, or returned something else than asked for, or values that are not
        finite.
    """
    seed = framework_seed(tensor.stream_key)
    try:
        with foreign_code():
            returned = draw.function(tensor.shape, tensor.dtype.name, seed)
    except ForeignCodeError as error:
        if isinstance(error.__cause__, InitializerError):
            raise error.__cause__ from None
        raise _failed(tensor, f"values, got {error}", "KINIT_DEBUG=1 shows where") from error
    values = _checked(returned, tensor)
    _check_finite(values, tensor)
    return values


def _checked(returned: Any, tensor: TensorPlan) -> NDArray[Any]:
    """Copy what was returned into an array of its own, if it is what was asked for."""
    dtype = numpy_dtype(tensor.dtype.name)
    try:
        with foreign_code():
            values = as_numpy(returned)
    except ForeignCodeError as error:
        cause = error.__cause__
        reason = str(cause if isinstance(cause, NotAnArrayError) else error)
        raise _failed(tensor, f"an array, got {_kind_of(returned)} ({reason})") from error
    if values.shape != tensor.shape:
        raise _failed(tensor, f"shape {list(tensor.shape)}, got {list(values.shape)}")
    if values.dtype.newbyteorder("=") != dtype:
        raise _failed(
            tensor,
            f"dtype {dtype.name}, got {values.dtype}",
            "return values of the dtype that it is called with",
        )
    return np.array(values, dtype, order="C", copy=True)


def _check_finite(values: NDArray[Any], tensor: TensorPlan) -> None:
    if values.dtype.kind in "iub":
        return
    flat = values.reshape(-1)
    n_bad, first = 0, 0
    # In pieces, since of a large tensor the flags alone take much memory.
    for start in range(0, flat.size, _CHUNK_ELEMENTS):
        is_bad = ~np.isfinite(flat[start : start + _CHUNK_ELEMENTS])
        if is_bad.any():
            first = first if n_bad else start + int(is_bad.argmax())
            n_bad += int(is_bad.sum())
    if n_bad:
        index = [int(position) for position in np.unravel_index(first, values.shape)]
        where = f"{flat[first]} at {index}"
        raise _failed(tensor, f"finite values, got {n_bad:,} that are not, the first {where}")


class NotAnArrayError(TypeError):
    """What was returned is no array of numbers; the text says why."""


def as_numpy(values: Any) -> NDArray[Any]:
    """Give an array of NumPy, TensorFlow, PyTorch, JAX or Keras as a NumPy array.

    It may share memory with what it was made of, and be read-only, of any byte order and strides.

    Raises
    ------
    NotAnArrayError
        It is something else.
    Exception
        Whatever the library raises if it cannot.
    """
    if values is None:
        raise NotAnArrayError("is a return missing?")
    if isinstance(values, np.ma.MaskedArray):
        raise NotAnArrayError("masked elements have no value; fill them")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values, torch.Tensor):
        return _of_torch(values, torch)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and isinstance(values, tensorflow.Tensor):
        values = values.numpy()  # of a bfloat16 scalar, NumPy cannot make an array itself
    array = np.asarray(values)
    if array.dtype.hasobject:
        raise NotAnArrayError("it holds no plain numbers")
    return array


def _of_torch(values: Any, torch: Any) -> NDArray[Any]:
    if values.layout != torch.strided:
        raise NotAnArrayError("a sparse one; return its to_dense()")
    values = values.detach().cpu().resolve_conj().resolve_neg()
    if values.dtype == torch.bfloat16:
        # NumPy knows no bfloat16 of its own, so that PyTorch gives only the bits.
        bits: NDArray[Any] = values.contiguous().view(torch.int16).numpy()
        return bits.view(numpy_dtype("bfloat16"))
    array: NDArray[Any] = values.numpy()
    return array


def _kind_of(returned: Any) -> str:
    return "None" if returned is None else type(returned).__name__


def _failed(tensor: TensorPlan, what: str, hint: str = "") -> InitializerError:
    name = tensor.initializer.type.names[0]
    text = f"{tensor.path}: initializer {name!r}: expected {what}"
    return InitializerError(f"{text}; {hint}" if hint else text)
