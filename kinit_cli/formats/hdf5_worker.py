"""What runs in the process that reads HDF5 files: see `hdf5_process`.

`serve` waits in a process that has loaded the library and opened no file. For each file it forks:
the child opens that one file, with limits on its memory and time, and can write none.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from kinit_cli.dtypes import narrow_floats
from kinit_cli.errors import KinitError
from kinit_cli.formats.hdf5_content import Hdf5Content
from kinit_cli.formats.hdf5_messages import entry_json, parse_entry, receive, send
from kinit_cli.formats.hdf5_process import (
    MAX_MEMORY_BYTES,
    MEMORY_BYTES_PER_FILE_BYTE,
)

if TYPE_CHECKING:
    from kinit_cli.formats.hdf5_content import Found


def serve(control_descriptor: int) -> NoReturn:
    """Fork for each socket that comes, until the other side is gone."""
    narrow_floats()  # or each fork would load them
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with socket.socket(fileno=control_descriptor) as control:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not message:
                os._exit(0)
            if not os.fork():
                try:
                    control.close()
                    _serve_file(socket.socket(fileno=descriptors[0]))
                except BaseException:  # noqa: BLE001
                    traceback.print_exc()  # of use with KINIT_DEBUG only
                finally:
                    os._exit(0)
            os.close(descriptors[0])


def _serve_file(peer: socket.socket) -> None:
    """Answer requests about one file until there are no more."""
    content: Hdf5Content | None = None
    with suppress(EOFError, OSError):
        while True:
            request = receive(peer)
            go_on = partial(signal.setitimer, signal.ITIMER_PROF, request["seconds"])
            go_on()
            answer: dict[str, Any] = {}
            data: Any = b""
            try:
                if request["do"] == "open":
                    content = _open(request)
                elif content is not None:
                    content.on_progress = go_on
                    answer, data = _answer(content, request)
            except KinitError as error:
                answer = {"error": str(error)}
            signal.setitimer(signal.ITIMER_PROF, 0)
            send(peer, answer, data)
    if content is not None:
        content.close()


def _open(request: dict[str, Any]) -> Hdf5Content:
    path = Path(request["path"])
    _limit_memory(path.stat().st_size)
    content = Hdf5Content(path, Path(request["shown"]))
    if not _has_filters():
        # No other file can be opened from here on, whatever this one says.
        n_open = max(map(int, os.listdir("/dev/fd"))) + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_open, n_open))
    return content


def _has_filters() -> bool:
    """Tell whether there is a folder of filters; Keras says "disable" instead of naming one."""
    folders = os.environ.get("HDF5_PLUGIN_PATH", "").split(os.pathsep)
    return any(os.path.isdir(folder) for folder in folders if folder)


def _answer(content: Hdf5Content, request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    if request["do"] == "scan":
        contents = content.scan()
        return {
            "found": [_found_json(one) for one in contents.found],
            "layout": contents.layout,
            "manifest": contents.manifest_text,
            "notes": contents.notes,
        }, b""
    if request["do"] == "layers":
        root, layers = content.listed_layers(request["layout"])
        return {"root": root, "layers": layers}, b""
    entry = parse_entry(request["entry"])
    name = bytes.fromhex(request["name"])
    elements = content.read(entry, name, request["start"], request["stop"])
    return {}, elements.view(np.uint8).data


def _found_json(found: Found) -> list[Any]:
    return [*entry_json(found.entry), found.name.hex(), found.offset]


def _limit_memory(n_file_bytes: int) -> None:
    most = MAX_MEMORY_BYTES + MEMORY_BYTES_PER_FILE_BYTE * n_file_bytes + _n_bytes_in_use()
    for what, n_most in (
        (resource.RLIMIT_AS, most),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        n_most = n_most if hard == resource.RLIM_INFINITY else min(n_most, hard)
        with suppress(ValueError, OSError):  # some systems have not all of them
            resource.setrlimit(what, (n_most, n_most))


def _n_bytes_in_use() -> int:
    try:
        n_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 2**30
    return n_pages * resource.getpagesize()
