"""Make tests/vectors/extra.json: the answers to sections 9 to 11 of docs/stream.md.

    python scripts/make_extra_vectors.py

Nothing of kinit is used but its table: words and values come from integers of Python, element by
element as the page says, and cosines from mpmath with 60 digits.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

REPOSITORY = Path(__file__).parents[1]
VECTORS_PATH = REPOSITORY / "tests" / "vectors" / "extra.json"
TABLE = np.load(REPOSITORY / "kinit_cli" / "stream" / "half_normal_q28.npy").tolist()
LOW = 0xFFFFFFFF
FIRST, STOP = 1 << 21, (1 << 54) - (1 << 21)


# --- sections 1 to 4 ----------------------------------------------------------------------------


def stream_key(seed: int, path: str) -> tuple[int, int]:
    """Give the key and nonce of a named tensor."""
    digest = hashlib.sha256(b"\0".join([b"kinit/1/name", b"%d" % seed, path.encode()])).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")


def word(key: int, nonce: int, index: int) -> int:
    """Give one word by Philox4x32-10."""
    block, lane = divmod(index, 4)
    k0, k1 = key & LOW, key >> 32
    x = [block & LOW, block >> 32, nonce & LOW, nonce >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(p1 >> 32) ^ x[1] ^ k0, p1 & LOW, (p0 >> 32) ^ x[3] ^ k1, p0 & LOW]
        k0, k1 = (k0 + 0x9E3779B9) & LOW, (k1 + 0xBB67AE85) & LOW
    return x[lane]


def half_normal(w: float) -> int:
    """Give the point whose upper tail is w / 2^33, in units of 2^-26."""
    (b,) = struct.unpack("<Q", struct.pack("<d", w))
    c0, c1, c2 = TABLE[(b >> 46) - (1023 << 6)]
    t = (b >> 15) & 0x7FFFFFFF
    z: int = c0 + (((c1 + ((c2 * t) >> 31)) * t) >> 31)
    return (z + 2) >> 2


def f32(x: float) -> float:
    """Round to float32."""
    return float(np.float32(x))


# --- section 9 ----------------------------------------------------------------------------------


def units_at(position: int) -> int:
    """Give the signed z of a position, in units of 2^-26."""
    is_above = position >= 1 << 53
    tail = (1 << 54) - 1 - position if is_above else position
    excess = max(0, tail.bit_length() - 29)
    z = half_normal((tail >> excess << excess) * 2.0**-21)
    return z if is_above else -z


def first_position(is_beyond: Callable[[int], bool]) -> int:
    """Bisect for the first position beyond a bound."""
    low, high = FIRST, STOP
    while low < high:
        middle = (low + high) >> 1
        low, high = (low, middle) if is_beyond(middle) else (middle + 1, high)
    return low


def bounded(seed: int, path: str, mean: float, std: float, a: float, b: float) -> dict[str, Any]:
    """Give a case of normals between bounds."""

    def value(position: int) -> float:
        return units_at(position) * (f32(std) * 2.0**-26) + f32(mean)

    first = min(first_position(lambda q: value(q) >= a), STOP - 1)
    count = max(1, first_position(lambda q: value(q) > b) - first)
    key = stream_key(seed, path)

    def element(i: int) -> float:
        return value(first + (count >> 33) + ((count * word(*key, i)) >> 32))

    def bits32(x: float) -> str:
        low, high = np.float32(a), np.float32(b)
        low = np.nextafter(low, np.float32(np.inf)) if float(low) < a else low
        high = np.nextafter(high, np.float32(-np.inf)) if float(high) > b else high
        return struct.pack(">f", min(max(f32(x), float(low)), float(high))).hex()

    indices = [*range(8), *range(1000003, 1000008)]
    return {
        "seed": seed, "path": path, "mean": mean, "std": std, "a": a, "b": b,
        "first_position": first, "n_positions": count, "indices": indices,
        "float64_hex": [min(max(element(i), a), b).hex() for i in indices],
        "float32_bits": [bits32(element(i)) for i in indices],
    }  # fmt: skip


# --- section 10 ---------------------------------------------------------------------------------


def sparse(seed: int, path: str, rows: int, cols: int, n_zeros: int, std: float) -> dict[str, Any]:
    """Give a case of a sparse matrix."""
    key = stream_key(seed, path)
    zeros = []
    for col in range(cols):
        keys = [word(*key, 2**65 + col * rows + row) for row in range(rows)]
        zeros.append(sorted(range(rows), key=lambda row: (keys[row], row))[:n_zeros])
    packed = b""
    for i in range(rows * cols):
        u = word(*key, i)
        z = half_normal(2 * (u & 0x7FFFFFFF) + 1)
        x = (-z if u >> 31 else z) * (f32(std) * 2.0**-26) + 0.0
        packed += struct.pack("<f", 0.0 if i // cols in zeros[i % cols] else x)
    return {
        "seed": seed, "path": path, "rows": rows, "cols": cols, "n_zeros": n_zeros, "std": std,
        "zero_rows_of_column_0": sorted(zeros[0]),
        "sha256_float32": hashlib.sha256(packed).hexdigest(),
    }  # fmt: skip


# --- section 11 ---------------------------------------------------------------------------------


def on_circle(numerator: int, denominator: int, side: str) -> float:
    """Give the cosine (real) or sine (imag) of a part of a circle, rounded once."""
    function = mpmath.cospi if side == "real" else mpmath.sinpi
    return float(function(mpmath.mpf(2 * numerator) / denominator))


def window_sample(name: str, n: int, last: int) -> float:
    """Give sample n of a window whose whole has samples 0 to `last`."""
    if name == "hann":
        return 0.5 - 0.5 * on_circle(n, last, "real")
    if name == "blackman":
        return 0.42 - 0.5 * on_circle(n, last, "real") + 0.08 * on_circle(2 * n, last, "real")
    t = abs(2 * n - last)
    if name == "bohman":
        if t == last:
            return 0.0
        sine = on_circle(t, 2 * last, "imag") / math.pi
        return (1 - t / last) * on_circle(t, 2 * last, "real") + sine
    r = t / (last + 1)  # parzen
    inner = 1 - 6 * (r * r) + 6 * (r * r * r)
    return inner if 2 * t <= last else 2 * ((1 - r) * (1 - r) * (1 - r))


def stft(
    length: int, n_bins: int, side: str, window: str, scaling: str | None, periodic: bool
) -> dict[str, Any]:
    """Give a case of an STFT kernel."""
    last = length if periodic else length - 1
    samples = [window_sample(window, n, last) for n in range(length)]
    divisor = 1.0
    if scaling == "density":
        divisor = math.sqrt(math.fsum(w * w for w in samples))
    elif scaling == "spectrum":
        divisor = math.fsum(map(abs, samples))
    values = []
    for n in range(length):
        for k in range(n_bins):
            c = on_circle(n * k % (2 * n_bins - 2), 2 * n_bins - 2, side)
            values.append((c if side == "real" else -c) * samples[n] / divisor + 0.0)
    return {
        "shape": [length, 1, n_bins], "side": side, "window": window, "scaling": scaling,
        "periodic": periodic, "last_hex": [x.hex() for x in values[-6:]],
        "sha256_float64": hashlib.sha256(np.array(values, "<f8").tobytes()).hexdigest(),
        "sha256_float32": hashlib.sha256(np.array(values, "<f4").tobytes()).hexdigest(),
    }  # fmt: skip


def extra_vectors() -> dict[str, Any]:
    """Give the file's contents."""
    mpmath.mp.dps = 60
    return {
        "stream": 1,
        "bounded_normal": [
            bounded(42, "dense/kernel", 0.0, 1.0, -2.0, 2.0),
            bounded(42, "dense/kernel", 0.0, 0.02, -2.0, 2.0),
            bounded(42, "dense/kernel", 0.0, 1.0, 0.0, 1e9),
            bounded(42, "dense/kernel", 0.0, 1.0, 3.0, 1e9),
            bounded(42, "dense/kernel", 0.0, 1.0, -1e9, -4.0),
            bounded(42, "dense/kernel", 1.0, 0.5, 2.0, 2.2),
            bounded(7, "a/b", -0.3, 0.1, -0.35, 0.1),
            bounded(7, "a/b", 0.0, 1.0, 0.25, 0.251),
        ],
        "sparse": [
            sparse(42, "dense/kernel", 5, 4, 2, 0.01),
            sparse(42, "dense/kernel", 40, 33, 36, 0.5),
            sparse(7, "a/b", 9, 2, 0, 1.0),
            sparse(7, "a/b", 3, 7, 3, 1.0),
        ],
        "stft": [
            stft(8, 5, "real", "hann", "density", False),
            stft(40, 33, "imag", "hann", "spectrum", True),
            stft(31, 9, "imag", "blackman", "density", False),
            stft(30, 12, "real", "parzen", None, False),
            stft(30, 12, "real", "bohman", "density", True),
        ],
    }


if __name__ == "__main__":
    VECTORS_PATH.write_text(json.dumps(extra_vectors(), indent=1) + "\n", encoding="utf-8")
