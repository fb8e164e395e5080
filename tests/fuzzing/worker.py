"""The process in which inputs are tried, one after the other, until one of them breaks it.

Also by itself, to see a failure again: ``python -m fuzzing.worker TARGET FOLDER`` in ``tests/``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
import typing
from pathlib import Path
from typing import Any

from kinit_cli.errors import KinitError

#: Beyond what the process has before: of address space, and really used for one small input.
MAX_ADDRESS_BYTES, MAX_USED_BYTES = 3 * 2**30, 700 * 2**20
_HDF5_SECONDS = 2

#: Events that no input may lead to, whatever their arguments.
_FORBIDDEN = (
    "code.__new__", "ctypes.", "marshal.loads", "os.chmod", "os.chown", "os.exec", "os.fork",
    "os.link", "os.mkdir", "os.posix_spawn", "os.putenv", "os.remove", "os.rename", "os.rmdir",
    "os.spawn", "os.symlink", "os.system", "os.truncate", "os.unsetenv", "pickle.find_class",
    "shutil.", "socket.bind", "socket.connect", "subprocess.Popen", "tempfile.", "webbrowser.",
)  # fmt: skip
_READ_ONLY_FLAGS = os.O_CLOEXEC | os.O_NOCTTY | os.O_LARGEFILE | getattr(os, "O_NOFOLLOW", 0)


class Watch:
    """Notes what an input leads to and must not; on only while one is tried."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.faults: list[str] = []
        folders = [*sys.path, sys.prefix, sys.base_prefix]
        self._modules = ("<frozen ", *(str(Path(folder).resolve()) for folder in folders))
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            self._note_open(*arguments)
        elif event == "exec":
            name = getattr(arguments[0], "co_filename", "?")
            caller = sys._getframe(1).f_code.co_filename
            # Of a module that is imported only now; what makes classes in it runs texts as well.
            is_ours = name == "<string>" and (self._is_importing() or caller == typing.__file__)
            if not self._is_module(name) and not is_ours:
                self.faults.append(f"ran the code of {name} for {caller}")
        elif event.startswith(_FORBIDDEN) and not self._is_importing():
            self.faults.append(f"{event} {arguments!r}"[:300])

    def _note_open(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int):
            return
        name = os.path.realpath(os.fsdecode(path))
        if isinstance(flags, int) and flags & ~_READ_ONLY_FLAGS:
            self.faults.append(f"opened {name} for writing")
        is_inside = name == self.folder or name.startswith(f"{self.folder}/")
        if not is_inside and not self._is_module(name) and name != os.devnull:
            self.faults.append(f"opened {name}")

    def _is_module(self, name: str) -> bool:
        return name.startswith(self._modules)

    @staticmethod
    def _is_importing() -> bool:
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return True
            frame = frame.f_back  # type: ignore[assignment]
        return False


def try_input(target: str, folder: Path, watch: Watch) -> str:
    """Run a target on the files in a folder, and say what was wrong; "" if nothing was."""
    from fuzzing.targets import TARGETS

    before = _listing(folder)
    n_before = _reset_peak()
    watch.faults.clear()
    watch.folder = str(folder.resolve())
    fault = ""
    try:
        TARGETS[target](folder)
    except KinitError as error:
        fault = f"a KinitError without a text: {error!r}" if not str(error) else ""
    except BaseException:  # noqa: BLE001 - whatever it is, it is the fault that is looked for
        fault = traceback.format_exc()
    finally:
        watch.folder = None
    faults = [fault] if fault else []
    faults += watch.faults
    if _listing(folder) != before:
        faults.append(f"changed its folder: {before} became {_listing(folder)}")
    n_used = _peak() - n_before
    if n_used > MAX_USED_BYTES:
        faults.append(f"took {n_used} bytes of memory")
    return "\n".join(faults)


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    files = sorted(folder.rglob("*"))
    return [(str(f), f.lstat().st_size, f.lstat().st_mtime_ns) for f in files if not f.is_dir()]


def _reset_peak() -> int:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 2**62  # not Linux: there is only the limit of the process
    return _peak()


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    return 0


def _limit_memory() -> None:
    n_pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = n_pages * resource.getpagesize() + MAX_ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Warm up on the seeds; then answer one line for each that comes."""
    os.environ["NUMBA_NUM_THREADS"] = "1"
    # `kinit import` would ask them about classes that it does not know itself.
    sys.modules.update(dict.fromkeys(("keras", "tensorflow", "torch", "jax")))  # type: ignore[arg-type]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from kinit_cli.formats import hdf5_process

    hdf5_process.MAX_SCAN_SECONDS = hdf5_process.MAX_READ_SECONDS = _HDF5_SECONDS
    watch = Watch()
    if len(sys.argv) == 3:
        fault = try_input(sys.argv[1], Path(sys.argv[2]), watch)
        sys.exit(fault or 0)
    is_limited = False
    for line in sys.stdin:
        request = json.loads(line)
        fault = try_input(request["target"], Path(request["folder"]), watch)
        if request.get("is_warming"):
            fault = ""
        elif not is_limited and Path("/proc/self/statm").exists():
            _limit_memory()
            is_limited = True
        answers.write(json.dumps(fault) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
