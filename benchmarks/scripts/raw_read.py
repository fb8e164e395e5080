"""The least that reading takes: a file from the page cache, by several threads.

python -m benchmarks.scripts.raw_read FILE THREADS
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

_STEP = 1 << 22


def main() -> None:
    """Read the file."""
    started = time.perf_counter()
    descriptor = os.open(sys.argv[1], os.O_RDONLY)
    n_bytes = os.fstat(descriptor).st_size
    local = threading.local()

    def read(start: int) -> int:
        if not hasattr(local, "buffer"):
            local.buffer = bytearray(_STEP)
        return os.preadv(descriptor, [local.buffer], start)

    with ThreadPoolExecutor(int(sys.argv[2])) as pool:
        n_read = sum(pool.map(read, range(0, n_bytes, _STEP)))
    if n_read != n_bytes:
        raise OSError("a short read")
    os.close(descriptor)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
