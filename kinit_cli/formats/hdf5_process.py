"""The process in which the HDF5 library reads files: starting it, and asking it.

The library trusts what it reads: a damaged file can make it crash, loop without end or take all
memory. So it reads in a process of its own, with limits, and a file that breaks it is one error.

One process is started and waits; for each file that is opened it forks (see `hdf5_worker`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinit_cli.errors import UnavailableError, WeightsFileError
from kinit_cli.formats.hdf5_messages import receive, send
from kinit_cli.formats.weights_file import file_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Of processor time without any progress: in a file's structure, and among a tensor's elements.
MAX_SCAN_SECONDS, MAX_READ_SECONDS = 10, 60
#: Of memory beyond what the process has at first, and in addition for each byte of the file.
MAX_MEMORY_BYTES, MEMORY_BYTES_PER_FILE_BYTE = 2 * 2**30, 4

_MAX_END_SECONDS = 5
_START = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from kinit_cli.formats.hdf5_worker import serve; serve(int(sys.argv[1]))"
)


class Hdf5Session:
    """A file that is open in a process of its own; for one thread at a time.

    Parameters
    ----------
    path : Path
        As messages call it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = _connect()
        try:
            # Relative to the directory of now, which is not that of the process.
            self.ask({"do": "open", "path": os.path.abspath(path), "shown": os.fspath(path)})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process, and with it its lock on the file; a second call does nothing."""
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_WR)
                self._socket.settimeout(_MAX_END_SECONDS)
                self._socket.recv(1)
        self._drop()

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(self, request: dict[str, Any], into: NDArray[np.uint8] | None = None) -> dict[str, Any]:
        """Ask for something and wait for it; `into` is filled with the bytes that come with it.

        Raises
        ------
        WeightsFileError
            The file cannot be read, or broke the library.
        """
        limit = MAX_READ_SECONDS if request["do"] == "read" else MAX_SCAN_SECONDS
        started = time.monotonic()
        try:
            if self._socket is None:
                raise EOFError
            send(self._socket, {**request, "seconds": limit})
            answer = receive(self._socket, into)
        except (OSError, EOFError, ValueError) as error:
            self._drop()
            raise self._broken(limit, is_endless=time.monotonic() - started >= limit) from error
        except BaseException:
            # What comes next would be the answer to this.
            self._drop()
            raise
        if "error" in answer:
            raise WeightsFileError(answer["error"])
        return answer

    def _broken(self, limit: int, *, is_endless: bool) -> WeightsFileError:
        return file_error(
            self.path,
            expected="a file that the HDF5 library can read",
            got=f"no end after {limit} s" if is_endless else "one on which it crashes",
            hint="it is damaged, or made to do so: copy or generate it again",
        )


# --- the process that waits -------------------------------------------------------------------


class _Server:
    """The process that waits, started when it is first needed; gone when this one is."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owner: int | None = None
        self.control: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def connect(self) -> socket.socket:
        """Give a socket to a process that waits for one file."""
        with self.lock:
            if self.owner != os.getpid() or self.process is None or self.process.poll() is not None:
                self.start()
            assert self.control is not None
            ours, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(self.control, [b"\0"], [theirs.fileno()])
            return ours

    def start(self) -> None:
        """Start it; nothing that it or the library prints is shown."""
        self.stop()
        ours, theirs = socket.socketpair()
        arguments = [sys.executable, "-c", _START, str(theirs.fileno()), *_module_folders()]
        shown = None if os.environ.get("KINIT_DEBUG") else subprocess.DEVNULL
        with theirs:
            try:
                self.process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=shown,
                    pass_fds=[theirs.fileno()],
                    # What the user interrupts is this process, which ends that one.
                    start_new_session=True,
                    # With more threads it could not fork safely.
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                )
            except OSError as error:
                ours.close()
                raise UnavailableError(
                    f"reading HDF5 takes a process of its own, which does not start: "
                    f"{sys.executable}: {error.strerror}"
                ) from error
        self.control, self.owner = ours, os.getpid()

    def stop(self) -> None:
        """End it; in a fork of the process that started it, only forget it."""
        if self.control is not None:
            self.control.close()
        if self.process is not None and self.owner == os.getpid():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        self.control = self.process = None


_server = _Server()
atexit.register(_server.stop)


def _connect() -> socket.socket:
    try:
        return _server.connect()
    except OSError as error:
        raise UnavailableError(
            f"reading HDF5 takes a process of its own, which has ended: {error.strerror}"
        ) from error


def _module_folders() -> list[str]:
    """Give where modules are found: as in this process, and kinit itself."""
    return [*map(os.fspath, sys.path), str(Path(__file__).parents[2])]
