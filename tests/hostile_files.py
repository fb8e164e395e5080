"""Weights files that mean harm, one of each kind: how they are made, and what is said of them."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from fuzzing.seeds import npy, npz, pack_safetensors

Build = Callable[[Path], None]
#: Whoever opens it waits for ever, so that a test which ends proves that nobody did.
TRAP = "trap"


def h5(build: Callable[[h5py.File], None]) -> Build:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["x"] = [1.0]
            build(file)

    return write


def _set(name: str, value: Any) -> Build:
    return h5(lambda file: file.__setitem__(name, value))


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(TRAP, "x", (4,))
    file.create_virtual_dataset("v", layout)


def _compressed_bomb(file: h5py.File) -> None:
    # 8 TB that a few kB declare; what is stored is one chunk of zeros.
    data = file.create_dataset("b", (2**20, 2**20), "f8", chunks=(2**10, 2**12), compression="gzip")
    data[0, 0] = 0


def _many_never_written(file: h5py.File) -> None:
    # Each is of the size that one alone may have.
    for index in range(5):
        file.create_dataset(f"d{index}", (2**30,), "f4", chunks=(2**20,), fillvalue=1)


def _giant_chunk(file: h5py.File) -> None:
    file.create_dataset("b", (2**16, 2**13), "u1", chunks=(2**16, 2**13), compression="gzip")


HDF5: dict[str, tuple[Build, str]] = {
    "external link": (_set("e", h5py.ExternalLink(TRAP, "/secret")), "an external link at 'e'"),
    "external link in a group": (
        _set("g/h/e", h5py.ExternalLink(TRAP, "/secret")),
        "an external link at 'g/h/e'",
    ),
    "soft link to an external link": (
        h5(
            lambda file: (
                file.__setitem__("s", h5py.SoftLink("/e/x")),
                file.__setitem__("e", h5py.ExternalLink(TRAP, "/")),
            )
        ),
        "an external link at 'e'",
    ),
    "soft link out of the file": (
        _set("s", h5py.SoftLink("../../etc/passwd")),
        "a soft link at 's' to '../../etc/passwd', which is not in it",
    ),
    "soft link to nowhere": (_set("s", h5py.SoftLink("/no/where")), "a soft link at 's'"),
    "soft link to itself": (_set("s", h5py.SoftLink("/s")), "a soft link at 's'"),
    "external storage": (
        h5(lambda file: file.create_dataset("r", (4,), "f4", external=[(TRAP, 0, 16)])),
        "external storage at 'r'",
    ),
    "virtual dataset": (h5(_virtual), "a virtual dataset at 'v'"),
    "giant that was never written": (
        h5(lambda file: file.create_dataset("g", (10**7, 10**7), "f4")),
        "400000000000000 bytes, got 0 bytes stored",
    ),
    "giant in chunks": (
        h5(lambda file: file.create_dataset("g", (10**7, 10**7), "f4", chunks=(100, 100))),
        "400000000000000 bytes, got 0 bytes stored",
    ),
    "many that were never written": (
        h5(_many_never_written),
        "stored elements in its datasets, which declare 21474836488 bytes",
    ),
    "compressed bomb": (h5(_compressed_bomb), "which declares 8796093022208 bytes"),
    "giant chunk": (h5(_giant_chunk), "chunks of at most 268435456 bytes in 'b', got 536870912"),
}


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> Build:
    return lambda path: path.write_bytes(pack_safetensors(header, data, length)) and None


def f32(start: int, stop: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [(stop - start) // 4], "data_offsets": [start, stop]}


SAFETENSORS: dict[str, tuple[Build, str]] = {
    "overlap": (safetensors({"a": f32(0, 8), "b": f32(4, 12)}, bytes(12)), "an overlap before 'b'"),
    "hole": (safetensors({"a": f32(0, 4), "b": f32(8, 12)}, bytes(12)), "a gap before 'b'"),
    "rest": (safetensors({"a": f32(0, 4)}, bytes(9)), "9 bytes after the header, 4 of them"),
    "huge length": (safetensors({}, b"", 2**63), f"a safetensors header of {2**63} bytes"),
    "duplicate names": (
        safetensors(b'{"a":%s,"a":%s}' % ((json.dumps(f32(0, 4)).encode(),) * 2), bytes(4)),
        "the key 'a' twice",
    ),
    "wrong size": (
        safetensors({"a": {**f32(0, 4), "shape": [10**9]}}, bytes(4)),
        "with 4 bytes for F32 of shape [1000000000]",
    ),
    "offsets beyond the end": (safetensors({"a": f32(0, 4000)}, bytes(4)), "4 bytes after the"),
    "name with NUL": (safetensors({"a\0b": f32(0, 4)}, bytes(4)), "the character U+0000"),
    "nested without end": (safetensors(b'{"a":' * 30_000), "JSON nested too deeply"),
}


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Build:
    return lambda path: path.write_bytes(npz(members, method)) and None


def npz_bomb(path: Path) -> None:
    """Say that 1 TB is in some bytes: in the array's header and in the archive's."""
    header = npy(np.zeros(0)).replace(b"(0,), }", b"(%d,), }" % 2**37)
    header = header[:128] if len(header) >= 128 else header
    content = bytearray(npz({"a.npy": header + bytes(10**5)}, zipfile.ZIP_DEFLATED))
    at = content.index(b"PK\1\2")
    # ZIP64: the sizes are 0xffffffff, and stand after the name.
    n_packed = struct.unpack_from("<I", content, at + 20)[0]
    extra = struct.pack("<HHQQ", 1, 16, 2**40 + 128, n_packed)
    entry = bytearray(content[at : at + 46 + 5])
    struct.pack_into("<II", entry, 20, 2**32 - 1, 2**32 - 1)
    # In the order of the format: the size of the text comes first.
    struct.pack_into("<H", entry, 30, len(extra))
    directory = bytes(entry) + extra
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(directory), at, 0)
    path.write_bytes(bytes(content[:at]) + directory + end)


class Trap:
    """A pickle that would make a file."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("pwned",))


PICKLES = npy(np.array([Trap(), 1], object))
NPZ: dict[str, tuple[Build, str]] = {
    "bomb": (npz_bomb, "bytes stored; it is nothing but one value, or is made to exhaust"),
    "path traversal": (archive({"../../x.npy": npy(np.ones(2))}), "got '../../x.npy'"),
    "absolute path": (archive({"/x.npy": npy(np.ones(2))}), "got '/x.npy'"),
    "path traversal on Windows": (archive({"..\\x.npy": npy(np.ones(2))}), "within a folder"),
    "no arrays": (archive({"archive/data.pkl": b"x"}), "got a zip archive with 'archive/data.pkl'"),
}
NPY: dict[str, tuple[Build, str]] = {
    "pickle": (lambda path: path.write_bytes(PICKLES) and None, "got pickled Python objects"),
    "code in the header": (
        lambda path: path.write_bytes(
            npy(np.zeros(3)).replace(b"(3,), }", b"__import__('os').mkdir('pwned')}"[:7])
        )
        and None,
        "a complete .npy header",
    ),
    "giant": (
        lambda path: path.write_bytes(npy(np.zeros(3)).replace(b"(3,), }         ",
                                                               b"(3000000000,), }")) and None,
        "expected 24000000128 bytes",
    ),
}  # fmt: skip
FILES = {
    f"{suffix[1:]}: {name}": (suffix, *case)
    for suffix, cases in (
        (".h5", HDF5),
        (".safetensors", SAFETENSORS),
        (".npz", NPZ),
        (".npy", NPY),
    )
    for name, case in cases.items()
}
FILES["pickle"] = (
    ".bin",
    lambda path: path.write_bytes(b"\x80\4cos\nmkdir\n.") and None,
    "got a Python pickle",
)
