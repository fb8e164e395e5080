"""`inspect_file` on files of any origin."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from conftest import Kinit

import kinit_cli.inspect
from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.engines import get_engine
from kinit_cli.errors import WeightsFileError
from kinit_cli.formats.hdf5 import Hdf5Writer
from kinit_cli.formats.npy import NpyDirectoryWriter, NpyFileWriter
from kinit_cli.inspect import inspect_file
from kinit_cli.pipeline import Output, generate
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec
from kinit_cli.summary import FileSummary, TensorSummary

RNG = np.random.default_rng(11)


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["block_10/kernel"] = RNG.standard_normal((30, 40)).astype("f4")
        file["block_2/kernel"] = np.full((3,), 2.0)
        file["block[2]/bias"] = np.array([0, 1, 2], "i4")
        file["bad"] = np.array([np.nan, np.inf, 3.0, -np.inf, 0.0])
        file["text"] = "hello"
        file["empty"] = np.zeros((0, 4), "f4")
        file["flag"] = np.array([True, False])
        file["half"] = np.ones(4, ml_dtypes.bfloat16).view("V2")
        file["half"].attrs["dtype"] = "bfloat16"
    return path


def tensor(summary: FileSummary, path: str) -> TensorSummary:
    (found,) = [tensor for tensor in summary.tensors if tensor.path == path]
    return found


def test_every_tensor_is_measured(h5: Path) -> None:
    summary = inspect_file(h5)
    assert [tensor.path for tensor in summary.tensors] == [
        "bad", "block[2]/bias", "block_2/kernel", "block_10/kernel",
        "empty", "flag", "half", "text",
    ]  # fmt: skip
    kernel = tensor(summary, "block_10/kernel")
    with h5py.File(h5) as file:
        values = file["block_10/kernel"][...].astype("f8")
    assert (kernel.shape, kernel.dtype, kernel.n_elements) == ((30, 40), "float32", 1200)
    assert kernel.stats is not None
    assert kernel.stats.mean == pytest.approx(values.mean(), rel=1e-12)
    assert kernel.stats.std == pytest.approx(values.std(), rel=1e-12)
    bad = tensor(summary, "bad").stats
    assert bad is not None
    assert (bad.n_nan, bad.n_inf, bad.n_zero, bad.mean) == (1, 2, 1, 1.5)
    assert tensor(summary, "text").stats is None
    empty = tensor(summary, "empty").stats
    assert empty is not None
    assert (empty.count, empty.mean) == (0, None)
    assert tensor(summary, "half").dtype == "bfloat16"


def test_totals_and_manifest(h5: Path) -> None:
    summary = inspect_file(str(h5))
    assert summary.n_parameters == 1200 + 3 + 3 + 5 + 0 + 2 + 4
    assert summary.n_bytes == sum(tensor.n_bytes for tensor in summary.tensors)
    assert (summary.seed, summary.stream, summary.engine) == (None, None, None)
    assert (summary.source, summary.format, summary.layout) == (str(h5), "hdf5", "flat")
    assert summary.notes == ()
    assert summary.seconds > 0


def test_the_result_is_json(h5: Path) -> None:
    document = json.loads(json.dumps(inspect_file(h5).to_json(), allow_nan=False))
    assert document["n_tensors"] == len(document["tensors"]) == 8


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("*/kernel", ["block_2/kernel", "block_10/kernel"]),
        ("block_2/kernel", ["block_2/kernel"]),
        ("block[2]/bias", ["block[2]/bias"]),
        ("block_[12]/*", ["block_2/kernel"]),
        ("*", None),
    ],
)
def test_pattern(h5: Path, pattern: str, paths: list[str] | None) -> None:
    summary = inspect_file(h5, pattern=pattern)
    found = [tensor.path for tensor in summary.tensors]
    assert found == (paths if paths is not None else [t.path for t in inspect_file(h5).tensors])
    assert summary.n_bytes == sum(tensor.n_bytes for tensor in summary.tensors)


@pytest.mark.parametrize("name", ["w.safetensors", "w.weights.h5", "w.h5", "w.npz"])
def test_a_pattern_may_be_what_the_manifest_calls_a_tensor(
    kinit: Kinit, tmp_path: Path, name: str
) -> None:
    text = "seed: 1\nlayers: [{name: a, type: Dense, input_shape: [3], config: {units: 2}}]"
    path = tmp_path / name
    (tmp_path / "s.yaml").write_text(text)
    assert kinit("generate", "s.yaml", "-o", name, "-q").returncode == 0
    stored = {"w.weights.h5": "layers/dense/vars/0", "w.h5": "a/kernel"}.get(name, "a.kernel")
    for pattern in ("a/kernel", "*/kern?l", stored):
        (found,) = inspect_file(path, pattern=pattern, check=True).tensors
        assert found.path == stored
        assert found.shape == (3, 2)
    with pytest.raises(WeightsFileError, match="did you mean 'a/kernel'"):
        inspect_file(path, pattern="a/kernl")


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("block_2/kernle", "did you mean 'block_2/kernel'?"),
        ("BLOCK_2/KERNEL", "did you mean 'block_2/kernel'?"),
        ("zzz", "run without a pattern"),
    ],
)
def test_pattern_without_a_match(h5: Path, pattern: str, hint: str) -> None:
    with pytest.raises(WeightsFileError) as caught:
        inspect_file(h5, pattern=pattern)
    assert hint in str(caught.value)
    assert str(h5) in str(caught.value)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.h5"
    values = RNG.standard_normal((3, TILE_ELEMENTS // 2 + 1000)).astype("f4")
    values[2, 17] = np.nan
    with h5py.File(path, "w") as file:
        file["contiguous"] = values
        file.create_dataset("chunked", data=values, chunks=(2, 70_000), compression=1)
        file["fortran"] = values.T.copy().T
        for index in range(700):
            file[f"small/{index}"] = values[0, : index % 50]
    return path


def test_threads_and_storage_do_not_change_a_bit(large: Path) -> None:
    summaries = [inspect_file(large, jobs=jobs) for jobs in (1, 2, 5)]
    assert summaries[0].tensors == summaries[1].tensors == summaries[2].tensors
    first = summaries[0]
    assert tensor(first, "contiguous").stats == tensor(first, "chunked").stats
    assert tensor(first, "contiguous").stats == tensor(first, "fortran").stats
    with h5py.File(large) as file:
        expected = float(np.nanstd(file["contiguous"][...].astype("f8")))
    stats = tensor(first, "contiguous").stats
    assert stats is not None
    assert stats.std == pytest.approx(expected, rel=1e-11)
    assert stats.n_nan == 1


def test_npy_and_hdf5_agree(large: Path, tmp_path: Path) -> None:
    directory = tmp_path / "d"
    (directory / "sub").mkdir(parents=True)
    with h5py.File(large) as file:
        values = file["contiguous"][...]
    np.save(directory / "sub" / "c.npy", values)
    np.save(directory / "f.npy", np.asfortranarray(values))
    stats = tensor(inspect_file(large, pattern="contiguous"), "contiguous").stats
    summary = inspect_file(directory)
    assert summary.format == "npy-directory"
    assert tensor(summary, "sub/c").stats == stats == tensor(summary, "f").stats


def test_progress_adds_up_to_all_bytes(large: Path) -> None:
    calls: list[int] = []
    threads = set()

    def progress(n_bytes: int) -> None:
        calls.append(n_bytes)
        threads.add(threading.current_thread())

    summary = inspect_file(large, jobs=2, progress=progress)
    assert sum(calls) == summary.n_bytes
    assert len(calls) > 5
    assert threads == {threading.main_thread()}


SPEC = """\
seed: 42
layers:
  - {name: z, weights: {kernel: {shape: [20, 30], initializer: he_normal}}}
  - {name: a, weights: {bias: {shape: [3]}}}
"""


def written(target: Path, writer: Any, text: str = SPEC) -> FileSummary:
    plan = make_plan(parse_spec(text.encode(), "spec.yaml"))
    output = Output(target=target, writer=writer)
    return generate(plan, output, engine=get_engine("numpy"), jobs=1)


@pytest.mark.parametrize(
    ("name", "writer"), [("w.h5", Hdf5Writer()), ("w", NpyDirectoryWriter())], ids=["hdf5", "npy"]
)
def test_a_file_of_ours_is_shown_as_it_was_generated(
    tmp_path: Path, name: str, writer: Any
) -> None:
    made = written(tmp_path / name, writer)
    found = inspect_file(tmp_path / name)
    # In the order of the spec, not of the file; with what the spec lets one expect.
    assert [tensor.path for tensor in found.tensors] == ["z/kernel", "a/bias"]
    for shown, generated in zip(found.tensors, made.tensors, strict=True):
        assert shown.digest is None
        assert shown.test is None
        digest, test = shown.recorded_digest, generated.test
        assert replace(shown, digest=digest, recorded_digest=None, test=test) == generated
    assert (found.seed, found.stream, found.notes) == (42, 1, ())
    assert tensor(found, "z/kernel").expected_std == pytest.approx(math.sqrt(2 / 20))


def test_one_npy_file_of_ours_is_known_by_the_manifest_beside_it(tmp_path: Path) -> None:
    text = "seed: 5\nlayers: [{name: z, weights: {kernel: {shape: [20, 30]}}}]"
    made = written(tmp_path / "w.npy", NpyFileWriter(), text)
    found = inspect_file(tmp_path / "w.npy")
    assert found.seed == 5
    assert found.tensors[0].path == "w"
    assert found.tensors[0].initializer == "glorot_uniform"
    assert found.tensors[0].recorded_digest == made.tensors[0].digest


def test_nothing_is_expected_of_a_tensor_that_is_not_as_recorded(tmp_path: Path) -> None:
    written(tmp_path / "w.h5", Hdf5Writer())
    with h5py.File(tmp_path / "w.h5", "a") as file:
        del file["z/kernel"]
        file["z/kernel"] = np.zeros((20, 30))
    found = inspect_file(tmp_path / "w.h5")
    assert found.notes == ("not as the file's manifest records it, or not there: z/kernel",)
    kernel = tensor(found, "z/kernel")
    assert (kernel.initializer, kernel.expected_std, kernel.recorded_digest) == (None, None, None)
    assert tensor(found, "a/bias").initializer == "zeros"


def test_a_recorded_spec_of_more_tensors_than_the_file_has_is_not_followed(tmp_path: Path) -> None:
    written(tmp_path / "w.h5", Hdf5Writer())
    with h5py.File(tmp_path / "w.h5", "a") as file:
        manifest = json.loads(file.attrs["kinit"])
        manifest["spec"]["layers"] = [{"repeat": 1000000, "layers": manifest["spec"]["layers"]}]
        file.attrs["kinit"] = json.dumps(manifest)
    found = inspect_file(tmp_path / "w.h5")
    assert len(found.notes) == 1
    assert "expected at most 2 tensors, got more" in found.notes[0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"layers": 5}, "the spec that the file records cannot be used: "),
        ({"layers": [], "x": "\x1b[31m"}, "the spec that the file records cannot be used: "),
    ],
)
def test_a_recorded_spec_that_is_no_spec_becomes_a_note(
    h5: Path, spec: dict[str, object], message: str
) -> None:
    manifest = {"kinit": 1, "stream": 1, "seed": 3, "spec": spec, "tensors": {}}
    with h5py.File(h5, "a") as file:
        file.attrs["kinit"] = json.dumps(manifest)
    summary = inspect_file(h5)
    assert summary.seed == 3
    assert len(summary.notes) == 1
    assert summary.notes[0].startswith(message)
    assert all(tensor.expected_std is None for tensor in summary.tensors)


def test_of_many_problems_of_a_recorded_spec_a_few_are_told(h5: Path) -> None:
    spec = {"layers": [1] * 10}
    manifest = {"kinit": 1, "stream": 1, "seed": 3, "spec": spec, "tensors": {}}
    with h5py.File(h5, "a") as file:
        file.attrs["kinit"] = json.dumps(manifest)
    (note,) = inspect_file(h5).notes
    assert note.endswith("layers[2]: expected a mapping, got 1; and 7 more")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[1]", '{"seed": true, "stream": "1"}'])
def test_a_manifest_that_is_not_one_becomes_a_note(h5: Path, text: str) -> None:
    np.save(h5.with_name("x.npy"), np.zeros(3))
    h5.with_name("x.npy.kinit.json").write_text(text)
    summary = inspect_file(h5.with_name("x.npy"))
    assert (summary.seed, summary.stream, summary.engine) == (None, None, None)
    assert len(summary.notes) == 1
    assert summary.notes[0].startswith("what the file says about itself cannot be used: ")


def test_notes_of_the_reader_are_kept(h5: Path) -> None:
    with h5py.File(h5, "a") as file:
        file["soft"] = h5py.SoftLink("/bad")
    assert inspect_file(h5).notes == ("soft links are not followed: soft",)


def test_a_damaged_part_is_an_error(h5: Path) -> None:
    with h5py.File(h5, "a") as file:
        file.create_dataset("z", data=np.arange(1000), chunks=(100,), compression="gzip")
        offset = file["z"].id.get_chunk_info(5).byte_offset
    content = bytearray(h5.read_bytes())
    content[offset : offset + 20] = bytes(20)
    h5.write_bytes(content)
    with pytest.raises(WeightsFileError, match="'z'"):
        inspect_file(h5)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_ends_the_threads_and_closes_the_file(
    large: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    open_weights = kinit_cli.inspect.open_weights

    def remember(path: Any) -> Any:
        opened.append(open_weights(path))
        return opened[-1]

    def progress(n_bytes: int) -> None:
        raise error

    monkeypatch.setattr(kinit_cli.inspect, "open_weights", remember)
    before = threading.active_count()
    with pytest.raises(error):
        inspect_file(large, jobs=3, progress=progress)
    assert threading.active_count() == before
    assert len(opened) == 1
    with pytest.raises(WeightsFileError):
        opened[0].read(tensor_entry(opened[0]), 0, 10)


def tensor_entry(file: Any) -> Any:
    return next(entry for entry in file.entries if entry.path == "chunked")


PEAK = """
import resource, sys
from kinit_cli.inspect import inspect_file
summary = inspect_file(sys.argv[1], jobs=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, summary.n_bytes)
"""


@pytest.fixture
def peak_mib() -> Callable[[Path], tuple[int, int]]:
    if sys.platform != "linux":
        pytest.skip("ru_maxrss is in KiB on Linux only")

    def run(path: Path) -> tuple[int, int]:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
        )
        peak, n_bytes = map(int, done.stdout.split())
        return peak, n_bytes

    return run


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, peak_mib: Callable[[Path], tuple[int, int]]
) -> None:
    peaks = {}
    for n_tiles in (4, 256):
        path = tmp_path / f"{n_tiles}.h5"
        with h5py.File(path, "w") as file:
            # Never written: reads as its fill value and takes no disk.
            file.create_dataset("x", (n_tiles, TILE_ELEMENTS), "f4", fillvalue=0.5)
        peaks[n_tiles], n_bytes = peak_mib(path)
        assert n_bytes == 4 * n_tiles * TILE_ELEMENTS
    assert peaks[256] - peaks[4] < 30
    assert math.isfinite(peaks[4])
