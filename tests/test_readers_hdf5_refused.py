"""HDF5 files that are damaged, hostile, or point out of themselves."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weights_files import RNG, entry_of, read_all, refusal

from kinit_cli.errors import WeightsFileError
from kinit_cli.formats import hdf5_content
from kinit_cli.formats.hdf5_content import Hdf5Content
from kinit_cli.formats.readers import open_weights


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    return tmp_path / "w.h5"


def test_hdf5_soft_links_within_the_file_are_skipped_with_a_note(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["x"] = [1.0]
        file["g/alias"] = h5py.SoftLink("/x")
        file["group"] = h5py.SoftLink("g")
        file["h"] = h5py.SoftLink("group/alias")
    with open_weights(h5) as opened:
        assert [entry.path for entry in opened.entries] == ["x"]
        assert opened.notes == ("soft links are not followed: g/alias, group, h",)


@pytest.mark.parametrize("target", ["/nowhere", "../../etc/passwd", "x/y", "self", "other.h5:/x"])
def test_hdf5_soft_links_that_lead_nowhere_are_refused(h5: Path, target: str) -> None:
    with h5py.File(h5, "w") as file:
        file["x"] = [1.0]
        file["self"] = h5py.SoftLink(target)
    assert f"a soft link at 'self' to {target!r}, which is not in it" in refusal(h5)


def test_hdf5_cycles_end_and_other_names_of_a_group_are_noted(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["a/x"] = [1.0]
        file["a/up"] = file["/"]
        file["a/self"] = file["a"]
        file["hard"] = file["a/x"]
    with open_weights(h5) as opened:
        assert [entry.path for entry in opened.entries] == ["a/x", "hard"]
        assert opened.notes == ("further names of groups are not followed: a/self, a/up",)


def test_hdf5_many_names_of_groups_do_not_multiply(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        group = file.create_group("g")
        for _ in range(60):
            inner = group.create_group("l")
            group["r"] = inner
            group = inner
        group["x"] = [1.0]
    with open_weights(h5) as opened:
        assert len(opened.entries) == 1


def test_hdf5_external_link_is_refused(h5: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = [1.0]
    with h5py.File(h5, "w") as file:
        file["g/e"] = h5py.ExternalLink("other.h5", "/secret")
    assert "an external link at 'g/e'" in refusal(h5)


def test_hdf5_external_storage_is_refused(h5: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(16))
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", (4,), "f4", external=[("raw", 0, 16)])
    assert "external storage at 'x'" in refusal(h5)


def test_hdf5_virtual_dataset_is_refused(h5: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    with h5py.File(h5, "w") as file:
        file.create_virtual_dataset("v", layout)
    assert "a virtual dataset at 'v'" in refusal(h5)


@pytest.mark.parametrize("options", [{}, {"chunks": (1000, 1000), "compression": "gzip"}])
def test_hdf5_giant_that_was_never_written_is_refused(h5: Path, options: dict[str, Any]) -> None:
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", (10**7, 10**7), "f4", **options)
    assert "400000000000000 bytes, got 0 bytes stored" in refusal(h5)


def test_hdf5_sparse_up_to_4_gib_is_opened(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", (2**32,), "u1", chunks=(1000,))
    with open_weights(h5) as opened:
        assert opened.read(opened.entries[0], 2**32 - 2, 2**32).tolist() == [0, 0]
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", (2**32 + 1,), "u1", chunks=(1000,))
    assert f"declares {2**32 + 1} bytes, got 0 bytes stored" in refusal(h5)


def test_hdf5_beyond_that_a_thousandth_must_be_stored(h5: Path) -> None:
    n_stored = 5_000_000
    with h5py.File(h5, "w") as file:
        shape = (1000 * n_stored,)
        dataset = file.create_dataset("x", shape, "u1", chunks=(n_stored,), maxshape=(None,))
        dataset[0] = 7
    with open_weights(h5) as opened:
        assert opened.read(opened.entries[0], 0, 2).tolist() == [7, 0]
    with h5py.File(h5, "r+") as file:
        file["x"].resize((1000 * n_stored + 1,))
    assert f"declares 5000000001 bytes, got {n_stored} bytes stored" in refusal(h5)


def test_hdf5_giant_chunk_is_refused(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", (2**16, 2**13), "f4", chunks=(2**14, 2**13))
    assert "chunks of at most" in refusal(h5)


def test_hdf5_damaged_chunk_is_an_error_when_read(h5: Path) -> None:
    values = RNG.standard_normal((100, 100))
    with h5py.File(h5, "w") as file:
        file.create_dataset("x", data=values, chunks=(50, 100), compression="gzip")
        offset = file["x"].id.get_chunk_info(1).byte_offset
    content = bytearray(h5.read_bytes())
    content[offset : offset + 100] = bytes(100)
    h5.write_bytes(content)
    with open_weights(h5) as opened:
        entry = entry_of(opened, "x")
        assert opened.read(entry, 0, 5000).tolist() == values.reshape(-1)[:5000].tolist()
        with pytest.raises(WeightsFileError, match="HDF5 error"):
            opened.read(entry, 5000, 10000)


def test_hdf5_cut_at_any_length_is_refused(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["a/b"] = np.arange(1000, dtype="f4")
    content = h5.read_bytes()
    for length in {*range(0, len(content), 97), 8, 9, 95, 96, len(content) - 1}:
        h5.write_bytes(content[:length])
        refusal(h5)


def test_hdf5_that_shrinks_while_open_is_an_error(h5: Path) -> None:
    with h5py.File(h5, "w") as file:
        file["x"] = np.arange(10_000, dtype="f4")
    with open_weights(h5) as opened:
        os.truncate(h5, 10_000)
        with pytest.raises(WeightsFileError, match="became shorter"):
            read_all(opened, "x")


@settings(max_examples=150, derandomize=True)
@given(data=st.data())
def test_hdf5_with_damaged_bytes_is_read_or_refused(
    data: st.DataObject, small_hdf5: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(small_hdf5)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.h5"
    path.write_bytes(content)
    with contextlib.suppress(WeightsFileError), open_weights(path) as opened:
        for entry in opened.entries:
            if entry.element is not None:
                n_read = min(entry.n_elements, 1000)
                assert opened.read(entry, 0, n_read).shape == (n_read,)


@pytest.fixture(scope="module")
def small_hdf5(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("small") / "s.h5"
    with h5py.File(path, "w") as file:
        file["a/kernel"] = np.arange(20, dtype="f4").reshape(4, 5)
        file.create_dataset("b", data=np.arange(20), chunks=(5,), compression="gzip")
        # Fixed-length text: on damaged variable-length text, HDF5 1.14 can loop without end.
        file["b"].attrs["dtype"] = np.bytes_(b"bfloat16")
        file.attrs["kinit"] = np.bytes_(b"{}")
    return path.read_bytes()


def test_a_manifest_of_hdf5_that_is_too_long_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(3)
        file.attrs["kinit"] = " " * 100
    for n_most, notes in (
        (100, ()),
        (99, ("the kinit manifest is longer than one can be, and not read",)),
    ):
        monkeypatch.setattr(hdf5_content, "max_manifest_bytes", lambda n_tensors, most=n_most: most)
        contents = Hdf5Content(path, path).scan()
        assert contents.notes == notes
        assert (contents.manifest_text is None) == bool(notes)


@pytest.mark.parametrize("options", [{}, {"chunks": (100,)}])
@pytest.mark.parametrize("n_written", [0, 500, 1000])
def test_hdf5_that_was_never_written_and_has_no_fill_value_is_refused(
    h5: Path, options: dict[str, Any], n_written: int
) -> None:
    with h5py.File(h5, "w") as file:
        dataset = file.create_dataset("x", (1000,), "f8", fillvalue=1234.5, **options)
        if n_written:
            dataset[:n_written] = 1
    with open_weights(h5) as opened:
        assert read_all(opened, "x")[n_written:].tolist() == [1234.5] * (1000 - n_written)
    # In the message that defines the value, the byte that says that there is one.
    value = struct.pack("<d", 1234.5)
    message = rb"(\x02[\x01-\x03][\0-\x02])\x01(\x08\0\0\0%s)" % re.escape(value)
    content, n_changed = re.subn(message, rb"\g<1>\0\g<2>", h5.read_bytes())
    assert n_changed == 1
    h5.write_bytes(content)
    if n_written == 1000 or (n_written and not options):
        with open_weights(h5) as opened:
            assert read_all(opened, "x").size == 1000
    else:
        what = "10 chunks" if options else "8000 bytes"
        assert f"{what} of 'x', which has no fill value, got {n_written // 100}" in refusal(h5)
