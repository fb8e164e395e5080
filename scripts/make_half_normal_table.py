"""Make the half-normal table of the value stream (docs/stream.md, 3).

python scripts/make_half_normal_table.py            write the file
python scripts/make_half_normal_table.py --check    compare it, exit with 1 if it differs
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import mpmath
import numpy as np

TABLE_PATH = Path(__file__).parents[1] / "kinit_cli" / "stream" / "half_normal_q28.npy"
N_OCTAVES = 32
SEGMENTS_PER_OCTAVE = 64
N_SEGMENTS = N_OCTAVES * SEGMENTS_PER_OCTAVE
COEFFICIENT_BITS = 28
DIGITS = 40
N_NODES = 3


def segment_coefficients(segment: int) -> tuple[int, int, int]:
    """Compute (c0, c1, c2) of one segment: z(t) = c0 + c1 t + c2 t^2 in units of 2^-28.

    The segment covers w from 2^octave (1 + j / 64) to 2^octave (1 + (j + 1) / 64), t from 0
    to 1; z(t) goes through sqrt(2) erfinv(1 - w / 2^32) at the Chebyshev nodes.
    """
    with mpmath.workdps(DIGITS):
        octave, j = divmod(segment, SEGMENTS_PER_OCTAVE)
        nodes = [
            (1 - mpmath.cos((2 * k + 1) * mpmath.pi / (2 * N_NODES))) / 2 for k in range(N_NODES)
        ]
        values = [
            half_normal(mpmath.ldexp(1 + (j + t) / SEGMENTS_PER_OCTAVE, octave)) for t in nodes
        ]
        coefficients = _through_three_points(nodes, values)
        c0, c1, c2 = (int(mpmath.nint(mpmath.ldexp(c, COEFFICIENT_BITS))) for c in coefficients)
    return c0, c1, c2


def half_normal(w: mpmath.mpf) -> mpmath.mpf:
    """Give the point whose upper tail in the normal distribution is w / 2^33."""
    return mpmath.sqrt(2) * mpmath.erfinv(1 - mpmath.ldexp(w, -N_OCTAVES))


def table_bytes() -> bytes:
    """Make the whole .npy file."""
    table = np.array([segment_coefficients(i) for i in range(N_SEGMENTS)], "<i4")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, table, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Write the table, or with --check compare it; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--path", type=Path, default=TABLE_PATH, help="the .npy file")
    options = parser.parse_args(arguments)
    made = table_bytes()
    if not options.check:
        options.path.write_bytes(made)
        return 0
    if options.path.read_bytes() == made:
        return 0
    print(f"{options.path} is not what this script makes", file=sys.stderr)
    return 1


def _through_three_points(
    nodes: list[mpmath.mpf], values: list[mpmath.mpf]
) -> tuple[mpmath.mpf, mpmath.mpf, mpmath.mpf]:
    """Give the polynomial c0 + c1 t + c2 t^2 through three points, by divided differences."""
    t0, t1, t2 = nodes
    z0, z1, z2 = values
    slope01 = (z1 - z0) / (t1 - t0)
    slope12 = (z2 - z1) / (t2 - t1)
    c2 = (slope12 - slope01) / (t2 - t0)
    return z0 - slope01 * t0 + c2 * t0 * t1, slope01 - c2 * (t0 + t1), c2


if __name__ == "__main__":
    sys.exit(main())
