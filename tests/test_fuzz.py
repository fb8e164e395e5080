"""Anything at all, in place of each kind of file that kinit reads (see `fuzzing`)."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from fuzzing import mutations, seeds
from fuzzing.harness import HARNESS, N_EXAMPLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SPEC_PIECES = tuple(
    b"{ } [ ] : , - ? | > ' \" % @ & * ! ~ # \n \t \r \0 \xff \xc3\xa9 \\u \\ud800 null .nan 1e9 "
    b"0x 1e999 true -1 {i} d **9 9**9**9 !!int !!python/name:os.system << --- ... repeat layers "
    b"99999999999999999999 type: &a *a initializer".split(b" ")
)


def fuzzed(n_examples: int) -> Callable[[Any], Any]:
    """Try so many examples, or as many as the environment says."""
    return settings(
        max_examples=N_EXAMPLES or n_examples,
        suppress_health_check=list(HealthCheck),
        database=None,
        print_blob=bool(N_EXAMPLES),
    )


@pytest.mark.parametrize("number", range(len(list(seeds.warming()))))
def test_fuzz_seeds(number: int) -> None:
    HARNESS.check(*list(seeds.warming())[number])


@fuzzed(150)
@given(st.data())
def test_fuzz_hdf5(data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(seeds.hdf5_seeds()))
    damaged = data.draw(mutations.damaged(content))
    HARNESS.check("weights", seeds.with_other("main.h5", damaged))


@fuzzed(60)
@given(st.data())
def test_fuzz_npy_directories(data: st.DataObject) -> None:
    files = seeds.generated("main/")
    manifest = json.loads(files["main/kinit.json"])
    changed = mutations.json_bytes(data.draw(mutations.changed_json(manifest)))
    files = {**files, "main/kinit.json": changed, "other.npz": seeds.npz_seeds()[1]}
    HARNESS.check("weights", files)


@fuzzed(100)
@given(st.data())
def test_fuzz_safetensors(data: st.DataObject) -> None:
    header, elements = seeds.safetensors_parts()
    header = data.draw(mutations.changed_json(header))
    length = data.draw(st.one_of(st.none(), st.sampled_from(mutations.NUMBERS)))
    elements = elements[data.draw(st.integers(0, 9)) :] if data.draw(st.booleans()) else elements
    content = seeds.pack_safetensors(header, elements, length if data.draw(st.booleans()) else None)
    HARNESS.check("weights", seeds.with_other("main.safetensors", content))


@fuzzed(60)
@given(st.data())
def test_fuzz_safetensors_bytes(data: st.DataObject) -> None:
    header, elements = seeds.safetensors_parts()
    content = data.draw(mutations.damaged(seeds.pack_safetensors(header, elements)))
    HARNESS.check("weights", seeds.with_other("main.safetensors", content))


@fuzzed(100)
@given(st.data())
def test_fuzz_npz(data: st.DataObject) -> None:
    content = data.draw(mutations.damaged(data.draw(st.sampled_from(seeds.npz_seeds()))))
    HARNESS.check("weights", seeds.with_other("main.npz", content))


@fuzzed(60)
@given(st.data())
def test_fuzz_npz_members(data: st.DataObject) -> None:
    names = st.sampled_from([f"{text}.npy" for text in mutations.TEXTS] + ["kinit.json", "a.npy"])
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    members = {
        data.draw(names): data.draw(npy_files()) for _ in range(data.draw(st.integers(0, 3)))
    }
    content = bytearray(seeds.npz(members, method))
    for _ in range(data.draw(st.integers(0, 2))):
        change_zip_field(data, content)
    HARNESS.check("weights", seeds.with_other("main.npz", bytes(content)))


@fuzzed(100)
@given(st.data())
def test_fuzz_npy(data: st.DataObject) -> None:
    content = data.draw(st.one_of(npy_files(), mutations.damaged(seeds.NPY_FORTRAN)))
    HARNESS.check("weights", seeds.with_other("main.npy", content))


@fuzzed(60)
@given(st.data())
def test_fuzz_indexes(data: st.DataObject) -> None:
    files = dict(data.draw(st.sampled_from(seeds.sets())))
    index = data.draw(mutations.changed_json(json.loads(files["main.json"])))
    files["main.json"] = mutations.json_bytes(index)
    HARNESS.check("weights", {**files, "other.npz": seeds.npz_seeds()[1]})


@fuzzed(60)
@given(st.data())
def test_fuzz_manifests(data: st.DataObject) -> None:
    header, elements = seeds.safetensors_parts()
    manifest = json.loads(header["__metadata__"]["kinit"])
    changed = json.dumps(data.draw(mutations.changed_json(manifest)))
    header = {**header, "__metadata__": {"kinit": changed}}
    content = seeds.pack_safetensors(header, elements)
    HARNESS.check("weights", seeds.with_other("main.safetensors", content))


@fuzzed(60)
@given(st.data())
def test_fuzz_locks(data: st.DataObject) -> None:
    text = seeds.lock_text()
    content = data.draw(
        st.one_of(
            mutations.changed_json(json.loads(text)).map(mutations.json_bytes),
            mutations.damaged(text.encode()),
        )
    )
    HARNESS.check("lock", {"main.lock": content, "other.yaml": seeds.SPEC.encode()})


@fuzzed(150)
@given(st.data(), st.sampled_from(["main.yaml", "main.json"]))
def test_fuzz_specs(data: st.DataObject, name: str) -> None:
    content = data.draw(mutations.changed_text(seeds.SPEC.encode(), SPEC_PIECES))
    HARNESS.check("spec", {name: content})


@fuzzed(100)
@given(st.data())
def test_fuzz_spec_values(data: st.DataObject) -> None:
    from ruamel.yaml import YAML

    tree = data.draw(mutations.changed_json(YAML(typ="safe").load(seeds.SPEC)))
    HARNESS.check("spec", {"main.yaml": mutations.json_bytes(tree)})


@fuzzed(100)
@given(st.data())
def test_fuzz_models(data: st.DataObject) -> None:
    tree = data.draw(mutations.changed_json(seeds.MODEL))
    HARNESS.check("model", {"main.json": mutations.json_bytes(tree)})


@fuzzed(60)
@given(st.data())
def test_fuzz_archives(data: st.DataObject) -> None:
    HARNESS.check("model", {"main.keras": data.draw(mutations.damaged(seeds.archive()))})


@st.composite
def npy_files(draw: st.DrawFn) -> bytes:
    """Give a `.npy` file whose header may say anything."""
    types = ["'<f4'", "'|O'", "'>f8'", "'<f2'", "'|V0'", "'<U1'", "[('a', '<f4')]", "'M8[s]'", "1"]
    sizes = ["()", "(4, 6)", "(0,)", "(-1,)", "(2**9,)", "(True,)", f"({2**62}, 4)", "(1,) * 9"]
    fortran = draw(st.sampled_from(["False", "True", "1", "None"]))
    header = (
        f"{{'descr': {draw(st.sampled_from(types))}, 'fortran_order': {fortran}, "
        f"'shape': {draw(st.sampled_from(sizes))}, }}"
    ).encode()
    if draw(st.booleans()):
        header = draw(
            mutations.changed_text(header, (b"(" * 300, b"'", b",", b"L", b"\0", b"{", b"x"))
        )
    version = draw(st.sampled_from([b"\1\0", b"\2\0", b"\3\0", b"\x09\0"]))
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(header))
    return b"\x93NUMPY" + version + length + header + bytes(draw(st.sampled_from([0, 4, 96, 100])))


def change_zip_field(data: st.DataObject, content: bytearray) -> None:
    """Change one field of a record of the directory, of a member, or of the end."""
    signature = data.draw(st.sampled_from([b"PK\1\2", b"PK\3\4", b"PK\5\6"]))
    at = content.find(signature)
    if at >= 0:
        at += data.draw(st.integers(4, 44))
        form = data.draw(st.sampled_from(["<H", "<I"]))
        number = data.draw(st.sampled_from(mutations.NUMBERS)) % 256 ** struct.calcsize(form)
        content[at : at + struct.calcsize(form)] = struct.pack(form, number)
