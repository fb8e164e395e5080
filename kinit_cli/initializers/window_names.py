"""The windows that STFT knows, by SciPy's names, and the weights of those that are cosine sums."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

COSINE_SUMS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "hann": (0.5, 0.5),
        "hamming": (0.54, 1.0 - 0.54),
        "blackman": (0.42, 0.50, 0.08),
        "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
        "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
        "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
    }
)

#: Every name to the one that it stands for.
WINDOWS: Mapping[str, str] = MappingProxyType(
    {
        alias: name
        for name, aliases in {
            "hann": ("han",),
            "hamming": ("hamm", "ham"),
            "blackman": ("black", "blk"),
            "nuttall": ("nutl", "nut"),
            "blackmanharris": ("blackharr", "bkh"),
            "flattop": ("flat", "flt"),
            "boxcar": ("box", "ones", "rect", "rectangular"),
            "triang": ("triangle", "tri"),
            "bartlett": ("bart", "brt"),
            "parzen": ("parz", "par"),
            "bohman": ("bman", "bmn"),
            "barthann": ("brthan", "bth"),
            "cosine": ("halfcosine",),
        }.items()
        for alias in (name, *aliases)
    }
)
