"""Single elements and their bits: how two arrays are compared, and what is told of a difference."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kinit_cli.digest import little_endian_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD_SIZES = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element, exactly.

    Attributes
    ----------
    value : str
        A decimal number that is this one and no other of its dtype, or "nan", "inf", "True".
    bits : str
        Its bits in hexadecimal, the most significant digit first.
    """

    value: str
    bits: str

    def to_json(self) -> dict[str, str]:
        """Give plain data with stable keys."""
        return asdict(self)


def element_at(values: NDArray[Any], index: int) -> Element:
    """Give an element of a 1-D array.

    >>> element_at(np.array([1.0, -0.0], np.float32), 1)
    Element(value='-0.0', bits='80000000')
    """
    one = values[index : index + 1]
    return Element(value=str(one[0]), bits=little_endian_bytes(one).tobytes()[::-1].hex())


def flat_index(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give the place in each axis of an element that is the `index`-th in C order.

    >>> flat_index(7, (2, 5)), flat_index(0, ())
    ((1, 2), ())
    """
    places: list[int] = []
    for size in reversed(shape):
        index, place = divmod(index, size)
        places.append(place)
    return tuple(reversed(places))


def has_same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Tell whether two arrays of one dtype, in any byte order, have the same bits throughout."""
    first, second = little_endian_bytes(one), little_endian_bytes(other)
    if first.size % 8 == 0:
        # Eight bytes at once take an eighth of the time.
        first, second = first.view(np.uint64), second.view(np.uint64)
    return bool(np.array_equal(first, second))


def differing_bits(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell of each element of two 1-D arrays of one dtype whether it has other bits.

    Byte order does not count; NaN equals NaN of the same bits, and 0 is not -0.
    """
    first, second = _words(one), _words(other)
    differs: NDArray[np.bool_] = first != second
    if differs.ndim == 2:
        differs = np.logical_or.reduce(differs, axis=1)
    return differs


def _words(values: NDArray[Any]) -> NDArray[Any]:
    octets, size = little_endian_bytes(values), values.dtype.itemsize
    return octets.view(f"<u{size}") if size in _WORD_SIZES else octets.reshape(-1, size)
