"""Every class of hostile input: refused with exit code 2 and one clear message, nothing touched.

docs/safety.md lists them, with the limits.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import Kinit
from fuzzing.seeds import npy, npz, pack_safetensors
from hostile_files import FILES, PICKLES, TRAP, f32

from kinit_cli.compare import lockfile
from kinit_cli.formats import (
    hdf5_content,
    hdf5_process,
    hdf5_reader,
    json_file,
    npz_reader,
    safetensors_types,
    shards_reader,
)
from kinit_cli.spec import document, expressions, names


@pytest.fixture
def in_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process, in `tmp_path`."""
    from kinit_cli.cli.main import run

    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(arguments)
        return code, *capsys.readouterr()

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("case", FILES)
def test_a_hostile_file_is_refused_by_every_command(
    tmp_path: Path, in_process: Callable[..., tuple[int, str, str]], case: str
) -> None:
    suffix, build, message = FILES[case]
    path = tmp_path / f"hostile{suffix}"
    build(path)
    np.save(tmp_path / "good.npy", np.ones(3))
    os.mkfifo(tmp_path / TRAP)
    before = contents(tmp_path)
    for command in (
        ["inspect", path.name],
        ["verify", path.name],
        ["verify", "--quick", path.name],
        ["diff", path.name, "good.npy"],
        ["diff", "good.npy", path.name],
        ["import", path.name, "-o", "spec.yaml"],
    ):
        code, out, err = in_process(*command)
        assert (code, out) == (2, ""), command
        (line,) = err.splitlines()
        assert re.match(rf"kinit: {path.name}: expected .*, got .*; ", line), line
        assert message in line
        assert line.isprintable()
        assert len(line) < 500
        assert contents(tmp_path) == before


def test_the_command_itself_ends_with_2(kinit: Kinit, tmp_path: Path) -> None:
    FILES["h5: external link"][1](tmp_path / "w.h5")
    os.mkfifo(tmp_path / TRAP)
    done = kinit("inspect", "w.h5")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"kinit: w.h5: expected all data in the file itself, got an ext")


def test_pickles_within_an_npz_are_never_loaded(
    tmp_path: Path, in_process: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / "w.npz").write_bytes(npz({"o.npy": PICKLES, "a.npy": npy(np.ones(3))}))
    code, out, _ = in_process("inspect", "w.npz")
    assert code == 0
    assert "object" in out
    assert in_process("verify", "w.npz")[0] == 2
    assert in_process("diff", "w.npz", "w.npz")[0] in (0, 1)
    assert in_process("import", "w.npz")[0] == 0
    assert not (tmp_path / "pwned").exists()


# --- names --------------------------------------------------------------------------------------

NAMES = {
    "parent": "../../x",
    "parent within": "a/../../x",
    "absolute": "/etc/x",
    "NUL": "a\0b",
    "escape": "a\x1b[31mb",
    "newline": "a\nb",
    "C1": "a\x9bb",
    "long": "x" * 10_000,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("place", ["layer", "weight"])
@pytest.mark.parametrize("out", ["o.h5", "o.safetensors", "o.npz", "o.npy", "o/"])
def test_a_spec_with_a_hostile_name_is_refused(
    tmp_path: Path,
    in_process: Callable[..., tuple[int, str, str]],
    name: str,
    place: str,
    out: str,
) -> None:
    layer, weight = (name, "k") if place == "layer" else ("a", name)
    spec = {"layers": [{"name": layer, "weights": {weight: {"shape": [2]}}}]}
    (tmp_path / "s.json").write_text(json.dumps(spec))
    before = contents(tmp_path)
    code, stdout, err = in_process("generate", "s.json", "-o", out)
    assert (code, stdout) == (2, "")
    problem, last = err.splitlines()
    where = r"s\.json:1:\d+: layers\[0\]\.(name|weights).*"
    assert re.match(where + ": expected a name.*got .*; ", problem)
    assert last == "kinit: 1 problem in the spec"
    assert problem.isprintable()
    assert len(problem) < 400
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "[/]", "a [link=x]b", ":smile:"])
def test_markup_is_a_name_like_any_other_and_shown_as_it_is(
    tmp_path: Path, in_process: Callable[..., tuple[int, str, str]], name: str
) -> None:
    layer = name.replace("/", "-")
    spec = {"layers": [{"name": layer, "weights": {"k": {"shape": [2]}}}]}
    (tmp_path / "s.json").write_text(json.dumps(spec))
    code, out, _ = in_process("generate", "s.json", "-o", "o.safetensors")
    assert code == 0
    assert layer in out
    assert layer in in_process("inspect", "o.safetensors")[1]


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        (suffix, name)
        for suffix, separator in ((".safetensors", ""), (".h5", "/"))
        for name in NAMES.values()
        if "\0" not in name and not (separator and separator in name)
    ],
)
def test_a_hostile_name_in_a_file_is_escaped_and_makes_no_spec(
    tmp_path: Path, in_process: Callable[..., tuple[int, str, str]], suffix: str, name: str
) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            file[name] = np.ones(1, "f4")
    else:
        path.write_bytes(pack_safetensors({name: f32(0, 4)}, bytes(4)))
    for command in (["inspect"], ["inspect", "--json"], ["diff", path.name]):
        code, out, err = in_process(*command, path.name)
        assert (code, err) == (0, "")
        assert all(character.isprintable() or character == "\n" for character in out)
    code, out, err = in_process("import", path.name)
    assert (code, out) == (2, "")
    assert "expected names that a spec can have" in err
    assert len(err.splitlines()) == 1
    assert err.strip().isprintable()
    assert os.listdir(tmp_path) == [path.name]


# --- locks, manifests, JSON -----------------------------------------------------------------------


def test_a_hostile_lock_is_refused(
    tmp_path: Path,
    in_process: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "s.yaml").write_text("layers: [{name: a, weights: {k: {shape: [2]}}}]\nseed: 1\n")
    for text in (
        "[" * 100_000,
        "{" * 1000,
        '{"kinit_lock": ' + "1" * 5000 + "}",
        json.dumps({"kinit_lock": "\x1b[31m" * 1000}),
        json.dumps({"kinit_lock": 1, "stream": 10**30}),
    ):
        (tmp_path / "s.yaml.lock").write_text(text)
        for command in (["lock", "--check"], ["generate", "--locked", "-o", "o.h5"]):
            code, out, err = in_process(command[0], "s.yaml", *command[1:])
            assert (code, out) == (2, "")
            (line,) = err.splitlines()
            assert line.startswith("kinit: s.yaml.lock: expected a lock")
            assert line.isprintable()
            assert len(line) < 500
    monkeypatch.setattr(lockfile, "MAX_LOCK_BYTES", 10)
    assert "got a damaged one (more than 10 bytes)" in in_process("lock", "s.yaml", "--check")[2]
    assert sorted(os.listdir(tmp_path)) == ["s.yaml", "s.yaml.lock"]


@pytest.mark.parametrize("what", ["header", "manifest", "index"])
def test_json_of_too_many_parts_is_not_parsed(
    tmp_path: Path,
    in_process: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    monkeypatch.setattr(json_file, "MAX_JSON_PARTS", 100)
    many = [0] * 101
    if what == "index":
        (tmp_path / "w").write_text(json.dumps({"weight_map": many}))
    elif what == "header":
        (tmp_path / "w").write_bytes(pack_safetensors({"a": {"shape": many}}, b""))
    else:
        metadata = {"__metadata__": {"kinit": json.dumps(many)}}
        (tmp_path / "w").write_bytes(pack_safetensors({**metadata, "a": f32(0, 4)}, bytes(4)))
    code, out, err = in_process("verify", "w")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert "JSON of more than 100 parts" in line


# --- what the page says ---------------------------------------------------------------------------

LIMITS = {
    "a chunk of HDF5": hdf5_content.MAX_CHUNK_BYTES,
    "declared in HDF5 with less than a thousandth stored": hdf5_content.MAX_SPARSE_BYTES,
    "declared in `.npz` with less than a thousandth stored": npz_reader.MAX_SPARSE_BYTES,
    "a deflated `.npz` member in Fortran order": npz_reader.MAX_FORTRAN_BYTES,
    "memory of the process that reads HDF5": hdf5_process.MAX_MEMORY_BYTES,
    "its processor time without progress, structure (s)": hdf5_process.MAX_SCAN_SECONDS,
    "its processor time without progress, elements (s)": hdf5_process.MAX_READ_SECONDS,
    "HDF5 files that are read from at a time": hdf5_reader.MAX_SESSIONS,
    "a safetensors header, an index": safetensors_types.MAX_HEADER_BYTES,
    "parts of a header, an index, a manifest, a lock": json_file.MAX_JSON_PARTS,
    "a lock": lockfile.MAX_LOCK_BYTES,
    "files of a set": shards_reader.MAX_SHARDS,
    "a spec, the JSON of a model": document.MAX_BYTES,
    "lists and mappings of a spec": document.MAX_NODES,
    "nodes that a spec's aliases repeat": document.MAX_ALIASED_NODES,
    "levels of a spec": document.MAX_DEPTH,
    "characters of an expression": expressions.MAX_LENGTH,
    "bits of a whole number in an expression": expressions.MAX_BITS,
    "characters of a tensor's path in a spec": names.MAX_PATH_LENGTH,
}


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    page = (Path(__file__).parents[1] / "docs" / "safety.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| ([0-9,]+) \|$", page, re.MULTILINE)
    assert {what: int(number.replace(",", "")) for what, number in rows} == LIMITS
