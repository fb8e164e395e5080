"""Safetensors files: judged by the format's own library, byte by byte."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Kinit
from written import MIXED_SPEC, assert_same, plan_of_all_dtypes, plan_text, values_of, write

from kinit_cli.digest import digest_of
from kinit_cli.dtypes import DTYPES
from kinit_cli.errors import OutputError
from kinit_cli.formats import safetensors as safetensors_format
from kinit_cli.formats import safetensors_set
from kinit_cli.formats.safetensors import SafetensorsWriter, seal_header
from kinit_cli.formats.safetensors_set import SafetensorsSetWriter
from kinit_cli.formats.safetensors_types import CODE_BY_DTYPE
from kinit_cli.formats.shards import parse_size, split_tensors
from kinit_cli.inspect import inspect_file
from kinit_cli.manifest import parse_manifest
from kinit_cli.plan import Plan

TINY = """\
seed: 1
layers:
- {name: a, weights: {k: {shape: [2], initializer: ones}, b: {shape: [], initializer: zeros}}}
"""


def header_of(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header


def dotted_values(plan: Plan) -> dict[str, Any]:
    return {path.replace("/", "."): values for path, values in values_of(plan).items()}


def test_every_dtype_has_a_code() -> None:
    assert set(CODE_BY_DTYPE) == set(DTYPES)


def test_a_whole_file(tmp_path: Path) -> None:
    write(plan_text(TINY), tmp_path / "w.safetensors", SafetensorsWriter())
    data = (tmp_path / "w.safetensors").read_bytes()
    manifest = header_of(tmp_path / "w.safetensors")["__metadata__"]["kinit"]
    recorded = [record["digest"] for record in json.loads(manifest)["tensors"].values()]
    assert recorded == [digest_of(np.ones(2, np.float32)), digest_of(np.zeros(1, np.float32))]
    header = (
        '{"__metadata__":{"format":"pt","kinit":' + json.dumps(manifest) + "},"
        '"a.b":{"dtype":"F32","shape":[],"data_offsets":[0,4]},'
        '"a.k":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}'
    )
    assert manifest == (
        '{"kinit":1,"stream":1,"seed":1,"spec":{"seed":1,"layers":[{"name":"a","weights":'
        '{"k":{"shape":[2],"initializer":"ones"},"b":{"shape":[],"initializer":"zeros"}}}]},"tensors":'
        '{"a/k":{"dtype":"float32","shape":[2],"digest":"' + recorded[0] + '","name":"a.k"},'
        '"a/b":{"dtype":"float32","shape":[],"digest":"' + recorded[1] + '","name":"a.b"}}}'
    )
    padded = header.encode() + b" " * (-len(header) % 8)
    assert data == len(padded).to_bytes(8, "little") + padded + bytes(4) + 2 * b"\0\0\x80\x3f"


def test_the_library_writes_the_same_bytes_and_reads_every_value(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors", reason="safetensors is not installed")
    from safetensors.numpy import save

    plan = plan_of_all_dtypes()
    path = tmp_path / "w.safetensors"
    write(plan, path, SafetensorsWriter())
    with library.safe_open(path, "numpy") as file:
        metadata = file.metadata()
        assert set(file.keys()) == set(dotted_values(plan))
    assert metadata["format"] == "pt"
    # It orders the two keys of the metadata at random: one of 2**64 runs finds only the other.
    assert any(save(dotted_values(plan), metadata) == path.read_bytes() for _ in range(64))


def test_the_library_reads_every_value(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    for plan in (
        plan_text(MIXED_SPEC),
        plan_of_all_dtypes("bfloat16", "float8_e4m3fn", "float8_e5m2"),
    ):
        path = tmp_path / f"{len(plan.tensors)}.safetensors"
        write(plan, path, SafetensorsWriter())
        found = numpy.load_file(path)
        assert set(found) == set(dotted_values(plan))
        for name, expected in dotted_values(plan).items():
            assert_same(found[name], expected)


def test_torch_loads_it_into_a_model(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    load_file = pytest.importorskip("safetensors.torch").load_file
    plan = plan_text(
        "seed: 1\nlayout: torch\nlayers:\n"
        "- {name: '0', weights: {weight: {shape: [3, 5]}, bias: {shape: [3]}}}\n"
        "- {name: '2', weights: {weight: {shape: [2, 3], dtype: bfloat16}, bias: {shape: [2]}}}\n"
    )
    write(plan, tmp_path / "w.safetensors", SafetensorsWriter())
    model = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    model[2].weight.data = model[2].weight.data.bfloat16()
    model.load_state_dict(load_file(tmp_path / "w.safetensors"))
    for name, expected in dotted_values(plan).items():
        found = model.state_dict()[name]
        bits = found.view(torch.int16) if found.dtype == torch.bfloat16 else found
        assert bits.numpy().tobytes() == expected.tobytes()


def test_the_manifest_names_tensors_as_the_file_does(tmp_path: Path) -> None:
    plan = plan_text(MIXED_SPEC)
    path = tmp_path / "w.safetensors"
    summary = write(plan, path, SafetensorsWriter("_"))
    manifest = parse_manifest(header_of(path)["__metadata__"]["kinit"], "w")
    for tensor in summary.tensors:
        assert manifest.tensors[tensor.path].digest == tensor.digest
        assert manifest.tensors[tensor.path].name == tensor.path.replace("/", "_")
    found = inspect_file(path)
    assert (found.format, found.layout, found.notes) == ("safetensors", "flat", ())
    assert [t.path for t in found.tensors] == [t.path.replace("/", "_") for t in summary.tensors]
    for ours, theirs in zip(summary.tensors, found.tensors, strict=True):
        assert (ours.stats, ours.initializer) == (theirs.stats, theirs.initializer)
        assert (ours.expected_std, ours.digest) == (theirs.expected_std, theirs.recorded_digest)


@pytest.mark.parametrize("writer", [SafetensorsWriter(), SafetensorsSetWriter(5_000_000)])
def test_the_number_of_threads_changes_no_byte(tmp_path: Path, writer: Any) -> None:
    sums = set()
    for run, jobs in enumerate((1, 4, 4)):
        write(plan_text(MIXED_SPEC), tmp_path / str(run), writer, jobs)
        files = sorted((tmp_path / str(run)).rglob("*")) or [tmp_path / str(run)]
        sums.add(hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest())
    assert len(sums) == 1


def test_a_manifest_of_another_length_is_never_written(tmp_path: Path) -> None:
    write(plan_text(TINY), tmp_path / "w.safetensors", SafetensorsWriter())
    before = (tmp_path / "w.safetensors").read_bytes()
    manifest = header_of(tmp_path / "w.safetensors")["__metadata__"]["kinit"]
    for other in (manifest[:-1] + " }", manifest[:-2] + "}", manifest + "}"):
        with pytest.raises(ValueError, match="as long as the room"):
            seal_header(tmp_path / "w.safetensors", other)
    assert (tmp_path / "w.safetensors").read_bytes() == before


@pytest.mark.parametrize("writer", [SafetensorsWriter(), SafetensorsSetWriter(4)])
def test_names_that_become_one_are_refused(tmp_path: Path, writer: Any) -> None:
    plan = plan_text(
        "layers: [{name: a.b, weights: {c: {shape: [1]}}}, {name: a, weights: {b.c: {shape: [1]}}}]"
    )
    with pytest.raises(OutputError, match=r"'a\.b/c' and 'a/b\.c' would both be named 'a\.b\.c'"):
        write(plan, tmp_path / "w", writer)
    assert list(tmp_path.iterdir()) == []
    write(plan, tmp_path / "w", SafetensorsWriter("/"))
    assert {"a.b/c", "a/b.c"} < set(header_of(tmp_path / "w"))


def test_the_metadata_is_no_tensor(tmp_path: Path) -> None:
    plan = plan_text("layers: [{name: _, weights: {metadata__: {shape: [1]}}}]")
    with pytest.raises(OutputError, match="which is no tensor"):
        write(plan, tmp_path / "w", SafetensorsWriter("_"))


def test_a_header_too_long_for_readers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safetensors_format, "MAX_HEADER_BYTES", 600)
    monkeypatch.setattr(safetensors_set, "MAX_HEADER_BYTES", 50)
    with pytest.raises(OutputError, match="and readers take 600"):
        write(plan_text(TINY), tmp_path / "w", SafetensorsWriter())
    with pytest.raises(OutputError, match="its header would have"):
        write(plan_text(TINY), tmp_path / "w", SafetensorsSetWriter(4))


# --- sets -----------------------------------------------------------------------------------


def test_a_set_is_as_hugging_face_writes_it(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    plan = plan_text(MIXED_SPEC)
    write(plan, tmp_path / "m", SafetensorsSetWriter(9_000_000))
    index = json.loads((tmp_path / "m" / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    n_files = len(files)
    assert n_files > 2
    assert files == [f"model-{i:05}-of-{n_files:05}.safetensors" for i in range(1, n_files + 1)]
    assert index["metadata"]["total_size"] == plan.n_bytes
    assert {path.name for path in (tmp_path / "m").iterdir()} == {
        *files, "model.safetensors.index.json",
    }  # fmt: skip
    found = {}
    for file in files:
        tensors = numpy.load_file(tmp_path / "m" / file)
        assert all(index["weight_map"][name] == file for name in tensors)
        n_bytes = sum(values.nbytes for values in tensors.values())
        assert n_bytes <= 9_000_000 or len(tensors) == 1
        found |= tensors
    for name, expected in dotted_values(plan).items():
        assert_same(found[name], expected)


def test_tensors_are_cut_greedily_in_order() -> None:
    plan = plan_text(
        "layers: [{name: a, weights: {a: {shape: [2]}, b: {shape: [1]}, c: {shape: [9]},"
        " d: {shape: [0]}, e: {shape: [3]}, f: {shape: [1]}}}]"
    )
    shards = split_tensors(plan.tensors, 12)
    assert [[t.weight for t in shard] for shard in shards] == [["a", "b"], ["c"], ["d", "e"], ["f"]]


def test_what_fits_into_one_file_has_no_index(tmp_path: Path) -> None:
    write(plan_text(TINY), tmp_path / "m", SafetensorsSetWriter(12))
    write(plan_text(TINY), tmp_path / "w.safetensors", SafetensorsWriter())
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["model.safetensors"]
    single = (tmp_path / "m" / "model.safetensors").read_bytes()
    assert single == (tmp_path / "w.safetensors").read_bytes()


@pytest.mark.parametrize("max_shard_bytes", [4, 1000])
def test_a_set_is_inspected_through_its_folder_and_its_index(
    tmp_path: Path, max_shard_bytes: int
) -> None:
    plan = plan_text(TINY)
    summary = write(plan, tmp_path / "m", SafetensorsSetWriter(max_shard_bytes))
    found = inspect_file(tmp_path / "m")
    assert found.format == ("safetensors-set" if max_shard_bytes == 4 else "safetensors")
    assert (found.seed, found.notes) == (1, ())
    assert [t.recorded_digest for t in found.tensors] == [t.digest for t in summary.tensors]
    if max_shard_bytes == 4:
        index = inspect_file(tmp_path / "m" / "model.safetensors.index.json")
        assert index.tensors == found.tensors


def test_a_set_replaces_what_kinit_wrote_and_nothing_else(kinit: Kinit, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TINY)
    base = ["generate", "s.yaml", "-o", "m/", "--quiet"]
    wide = ["--format", "safetensors", "--max-shard-size", "4"]
    assert kinit(*base, *wide).returncode == 0
    assert kinit(*base, *wide).returncode == 2
    assert kinit(*base, *wide, "--force").returncode == 0
    assert kinit(*base, "--format", "safetensors", "--force").returncode == 0
    assert kinit(*base, "--force").returncode == 0
    assert kinit(*base, *wide, "--force").returncode == 0
    (tmp_path / "m" / "config.json").write_text("{}")
    refused = kinit(*base, *wide, "--force")
    assert refused.returncode == 2
    assert "m holds config.json, which kinit did not write" in refused.stderr.decode()


def test_the_options_and_where_they_are_refused(kinit: Kinit, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TINY)
    for arguments, message in (
        (["-o", "w.h5", "--separator", "_"], "expected no --separator for hdf5"),
        (["-o", "w.npz", "--max-shard-size", "1MB"], "expected no --max-shard-size for npz"),
        (["-o", "w.safetensors", "--max-shard-size", "1MB"], "-o DIR/ --format safetensors"),
        (["-o", "-", "--format", "safetensors", "--max-shard-size", "1MB"], "expected a directory"),
        (["-o", "w.npz/", "--format", "npz"], "expected a file name for npz"),
        (["-o", "m/", "--format", "npz"], "expected a file name for npz"),
        (["-o", "w.safetensors", "--separator", ""], "expected a printable text"),
        (["-o", "m/", "--max-shard-size", "big"], "expected a size such as 5GB"),
    ):
        found = kinit("generate", "s.yaml", *arguments)
        assert (found.returncode, found.stdout) == (2, b"")
        assert message in found.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("1", 1), ("700b", 700), ("5GB", 5 * 10**9), ("2 GiB", 2**31), ("1.5KiB", 1536),
        ("0.1mb", 100_000), ("3T", None), ("1tb", 10**12), ("0", None), ("0.5B", None),
        ("-1", None), ("1e3", None), ("", None), ("GB", None), ("nan", None), ("1.GB", None),
        ("９", None),
    ],
)  # fmt: skip
def test_sizes(text: str, n_bytes: int | None) -> None:
    if n_bytes is None:
        with pytest.raises(ValueError, match="expected a size"):
            parse_size(text)
    else:
        assert parse_size(text) == n_bytes


def test_an_origin_does_not_disturb_the_room_for_the_manifest(tmp_path: Path) -> None:
    from kinit_cli.origin import Origin

    origin = Origin(engine="keras", version="3.15", backend="jax", backend_version="0.9")
    plan = replace(plan_text(TINY), origin=origin)
    write(plan, tmp_path / "w", SafetensorsWriter())
    assert np.array_equal(np.frombuffer((tmp_path / "w").read_bytes()[-8:], "<f4"), [1, 1])
    manifest = parse_manifest(header_of(tmp_path / "w")["__metadata__"]["kinit"], "w")
    assert manifest.origin == origin
