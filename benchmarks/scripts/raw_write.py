"""The least that writing takes: ready bytes into a file, from several threads.

python -m benchmarks.scripts.raw_write OUT BYTES THREADS
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

_STEP = 1 << 22


def main() -> None:
    """Write the file."""
    started = time.perf_counter()
    target, n_bytes, n_threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    buffer = memoryview(bytes(range(256)) * (_STEP // 256))
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT, 0o644)
    os.ftruncate(descriptor, n_bytes)

    def write(start: int) -> None:
        size = min(_STEP, n_bytes - start)
        if os.pwrite(descriptor, buffer[:size], start) != size:
            raise OSError("a short write")

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(write, range(0, n_bytes, _STEP)))
    os.close(descriptor)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
