"""What is done with an input: everything that kinit does with such a file.

A target raises a `KinitError` or nothing; all else is a fault.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kinit_cli.cli.main import run
from kinit_cli.errors import KinitError
from kinit_cli.formats.readers import holds_weights, open_weights
from kinit_cli.records import read_records

#: What an input is called in its folder; "other" is a sound file beside it.
MAIN = "main"
_TILE = 2**16
#: Elements that are looked at of tensors that declare many more than they store.
_MAX_TILES = 16
_MAX_BYTES_MEASURED = 2**24


def weights(folder: Path) -> None:
    """Read a weights file, by the library and by every command that takes one."""
    path = main_of(folder)
    holds_weights(path)
    n_bytes = 0
    with suppress(KinitError), open_weights(path) as file:
        n_bytes = sum(entry.n_bytes for entry in file.entries)
        read_records(file)
        for entry in file.entries:
            check_reading(file, entry)
    commands = [["import", str(path)]]
    if n_bytes <= _MAX_BYTES_MEASURED:
        commands += [
            ["inspect", str(path), "--jobs", "1"],
            ["inspect", str(path), "--check", "--jobs", "1", "--json"],
            ["verify", str(path), "--jobs", "1", "--engine", "numpy"],
            ["verify", str(path), "--quick", "--jobs", "1"],
            ["diff", str(path), str(other_of(folder)), "--jobs", "1"],
        ]
    for command in commands:
        check_command(command)


def check_reading(file: Any, entry: Any) -> None:
    """Read a tensor in tiles, or the first and last of very many."""
    if entry.element is None:
        return
    starts = range(0, entry.n_elements, _TILE)
    chosen = [*starts[: _MAX_TILES // 2], *starts[-_MAX_TILES // 2 :]]
    with suppress(KinitError):
        for start in chosen:
            stop = min(start + _TILE, entry.n_elements)
            elements = file.read(entry, start, stop)
            assert elements.shape == (stop - start,)
            assert elements.dtype == entry.element


def spec(folder: Path) -> None:
    """Read a spec and plan it."""
    check_command(["check", str(main_of(folder)), "--json"])


def model(folder: Path) -> None:
    """Read a Keras model, plan it, and write it down as a spec."""
    check_command(["check", str(main_of(folder))])
    check_command(["import", str(main_of(folder))])


def lock(folder: Path) -> None:
    """Compare a spec with its lock."""
    spec_path = other_of(folder)
    command = ["lock", str(spec_path), "--check", "-o", str(main_of(folder))]
    check_command([*command, "--engine", "numpy", "--jobs", "1"])


def probe(folder: Path) -> None:
    """Do what no input may lead to: it shows that the harness sees it."""
    what = main_of(folder).read_text()
    if what == "open":
        Path("/etc/hostname").exists()
        io.open_code("/etc/hostname").close()
    elif what == "write":
        open("/dev/null", "w").close()
    elif what == "exec":
        exec(compile("1", "<text>", "exec"))
    elif what == "pickle":
        pickle.loads(b"cbuiltins\nlen\n.")
    elif what == "process":
        subprocess.run(["true"], check=True)
    elif what == "leave":
        Path(folder, "left").touch()
    elif what == "raise":
        raise ZeroDivisionError
    elif what == "silent":
        raise KinitError
    elif what == "memory":
        bytearray(2**34)
    elif what == "much":
        bytearray(2**30).count(0)
    elif what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "hang":
        time.sleep(100)


TARGETS: dict[str, Callable[[Path], None]] = {
    "weights": weights,
    "spec": spec,
    "model": model,
    "lock": lock,
    "probe": probe,
}


def main_of(folder: Path) -> Path:
    """Give the file that an input is, or its folder."""
    return next(iter(sorted(folder.glob(f"{MAIN}*"))))


def other_of(folder: Path) -> Path:
    """Give the sound file beside it."""
    return next(iter(sorted(folder.glob("other*"))))


def check_command(arguments: Sequence[str]) -> None:
    """Run a command and check what it says and how it ends."""
    with _captured() as streams:
        code = run(arguments, prog_name="kinit")
    out, err = (stream.buffer.getvalue().decode("utf-8") for stream in streams)
    about = f"kinit {' '.join(arguments)}: exit {code}, stderr {err[:2000]!r}"
    assert code in (0, 1, 2), about
    for sign in ("internal error", "Traceback", "out of memory"):
        assert sign not in err, about
    for text in (out, err):
        odd = sorted({character for character in text if _is_control(character)})
        assert not odd, f"{about}: prints {odd}"
    if code == 2:
        lines = err.splitlines()
        assert lines, about
        assert lines[-1].startswith("kinit: "), about
        # Of a spec every problem has a line; of anything else there is one.
        assert len(lines) == 1 or "in the spec" in lines[-1], about
        assert max(map(len, lines)) < 5000, about


def _is_control(character: str) -> bool:
    return (ord(character) < 32 and character != "\n") or 127 <= ord(character) < 160


@contextmanager
def _captured() -> Any:
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    saved = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = saved
