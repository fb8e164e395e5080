"""Opening a file by its content, whatever it is, and letting go of it."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from weights_files import refusal

from kinit_cli.engines import get_engine
from kinit_cli.errors import WeightsFileError
from kinit_cli.formats.base import Writer
from kinit_cli.formats.hdf5 import Hdf5Writer
from kinit_cli.formats.npy import NpyDirectoryWriter, NpyFileWriter
from kinit_cli.formats.readers import open_weights
from kinit_cli.pipeline import Output, generate
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    return tmp_path / "w.h5"


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    with (tmp_path / "a.h5").open("wb") as file:
        np.save(file, np.zeros(3))
    with h5py.File(tmp_path / "b.npy", "w") as hdf5:
        hdf5["x"] = [1.0]
    with open_weights(tmp_path / "a.h5") as first, open_weights(str(tmp_path / "b.npy")) as second:
        assert (first.format, second.format) == ("npy", "hdf5")


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "an empty file"),
        (b"hello world", "begins with b'hello wo'"),
        (b"PK\x03\x04....", "not a zip file"),
        (pickle.dumps([1]), "a Python pickle"),
        (b"\x1f\x8b....", "a gzip archive"),
        (b"GGUF....", "a GGUF file"),
        (struct.pack("<Q", 20) + b'{"a":{}}', "a file of 16 bytes"),
        (bytes(5000), "begins with b'\\x00"),
    ],
)
def test_foreign_files_are_named(tmp_path: Path, content: bytes, got: str) -> None:
    (tmp_path / "w.h5").write_bytes(content)
    assert got in refusal(tmp_path / "w.h5")


def test_missing_file(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing.h5")


def test_name_with_nul() -> None:
    with pytest.raises(WeightsFileError, match="null"):
        open_weights("a\0b")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "w.h5").chmod(0)
    assert "Permission denied" in refusal(tmp_path / "w.h5")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "a special file" in refusal(tmp_path / "pipe")


@pytest.fixture
def open_descriptors() -> Callable[[], int]:
    if sys.platform != "linux":
        pytest.skip("counts descriptors in /proc")
    return lambda: len(os.listdir("/proc/self/fd"))


def test_nothing_stays_open(tmp_path: Path, h5: Path, open_descriptors: Callable[[], int]) -> None:
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", data=np.zeros((10, 10)), chunks=(5, 5))
        file["y"] = [1.0]
    bad = tmp_path / "bad.h5"
    with h5py.File(bad, "w") as file:
        file["e"] = h5py.ExternalLink("other.h5", "/x")
    np.save(tmp_path / "w.npy", np.zeros((3, 3), order="F"))
    before = open_descriptors()
    for path, _ in itertools.product((h5, tmp_path / "w.npy"), range(3)):
        with open_weights(path) as opened:
            for entry in opened.entries:
                opened.read(entry, 0, 1)
        opened.close()
    for _ in range(3):
        refusal(bad)
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("name", "writer"),
    [("w.h5", Hdf5Writer()), ("w.npy", NpyFileWriter()), ("w", NpyDirectoryWriter())],
)
def test_manifest_names_are_those_that_generate_writes(
    tmp_path: Path, name: str, writer: Writer
) -> None:
    spec = b"{seed: 1, layers: [{name: a, weights: {k: {shape: [2]}}}]}"
    output = Output(target=tmp_path / name, writer=writer)
    generate(make_plan(parse_spec(spec, "s.yaml")), output, engine=get_engine("numpy"), jobs=1)
    with open_weights(tmp_path / name) as opened:
        assert opened.format == writer.name
        assert json.loads(opened.manifest_text or "")["tensors"].keys() == {"a/k"}


def test_opening_a_foreign_file_does_not_import_what_reads_specs(tmp_path: Path, h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["x"] = [1.0]
    np.save(tmp_path / "w.npy", np.zeros(3))
    program = """if True:
        import sys
        from kinit_cli.formats.readers import open_weights
        for path in sys.argv[1:]:
            open_weights(path).close()
        print(*sorted(sys.modules.keys() & {"kinit_cli.manifest", "pydantic", "ruamel.yaml"}))
    """
    command = [sys.executable, "-c", program, str(h5), str(tmp_path / "w.npy"), str(tmp_path)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"\n"
