"""The one table of element types that specs, engines and formats share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

Kind = Literal["float", "int", "bool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DType:
    """An element type: its size and the finite range that it can hold."""

    name: str
    kind: Kind
    n_bytes: int
    lowest: float | int
    highest: float | int


def _float(name: str, n_bytes: int, highest: float) -> DType:
    return DType(name=name, kind="float", n_bytes=n_bytes, lowest=-highest, highest=highest)


def _integer(name: str, n_bytes: int, *, is_signed: bool) -> DType:
    n_bits = 8 * n_bytes
    lowest = -(2 ** (n_bits - 1)) if is_signed else 0
    highest = 2 ** (n_bits - 1) - 1 if is_signed else 2**n_bits - 1
    return DType(name=name, kind="int", n_bytes=n_bytes, lowest=lowest, highest=highest)


DTYPES: dict[str, DType] = {
    dtype.name: dtype
    for dtype in (
        _float("float64", 8, (2 - 2.0**-52) * 2.0**1023),
        _float("float32", 4, (2 - 2.0**-23) * 2.0**127),
        _float("float16", 2, 65504.0),
        _float("bfloat16", 2, (2 - 2.0**-7) * 2.0**127),
        _float("float8_e4m3fn", 1, 448.0),
        _float("float8_e5m2", 1, 57344.0),
        *(_integer(f"int{8 * n}", n, is_signed=True) for n in (1, 2, 4, 8)),
        *(_integer(f"uint{8 * n}", n, is_signed=False) for n in (1, 2, 4, 8)),
        DType(name="bool", kind="bool", n_bytes=1, lowest=0, highest=1),
    )
}
#: Of these, the ones that NumPy has not and many formats cannot name.
EXTENSION_DTYPES = ("bfloat16", "float8_e4m3fn", "float8_e5m2")


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Give the little-endian NumPy dtype of a name in `DTYPES`; some come from ml_dtypes."""
    import numpy as np

    dtype: np.dtype[Any]
    if name in EXTENSION_DTYPES:
        import ml_dtypes

        dtype = np.dtype(getattr(ml_dtypes, name))
    else:
        dtype = np.dtype(name).newbyteorder("<")
    return dtype


def dtype_name(dtype: DTypeLike) -> str:
    """Name a dtype that is given as NumPy takes it; a text is left as it is.

    >>> import numpy as np
    >>> dtype_name(np.float32), dtype_name("bfloat16")
    ('float32', 'bfloat16')
    """
    if isinstance(dtype, str):
        return dtype
    import numpy as np

    name: str = np.dtype(dtype).name
    return name


@lru_cache(maxsize=1)
def narrow_floats() -> frozenset[type[Any]]:
    """Give the types of ml_dtypes that float32 holds exactly: bfloat16 and narrower."""
    import ml_dtypes

    names = (n for n in dir(ml_dtypes) if n.startswith(("float8_", "float6_", "float4_")))
    return frozenset(getattr(ml_dtypes, name) for name in ("bfloat16", *names))
