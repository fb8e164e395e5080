"""`verify_file` and `verify_digests`: whatever is done to a file is found, and where."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from verified import (
    LARGE,
    LARGE_SHAPE,
    ONE,
    OUTPUTS,
    SPEC,
    change,
    edit_manifest,
    only,
    statuses,
    written,
)

from kinit_cli.compare.checks import Verification
from kinit_cli.compare.verification import verify_digests, verify_file
from kinit_cli.digest import TILE_ELEMENTS, digest_of
from kinit_cli.errors import WeightsFileError
from kinit_cli.means import Means


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# --- as it should be --------------------------------------------------------------------------


@pytest.mark.parametrize("target", OUTPUTS)
@pytest.mark.parametrize("check", [verify_file, verify_digests])
def test_what_was_generated_is_what_it_should_be(
    target: str, check: Callable[[str], Verification]
) -> None:
    found = check(written(target))
    assert found.is_same
    assert [tensor.path for tensor in found.tensors] == [
        "z/kernel", "z/bias", "a/q", "m/n", "m/f", "m/e",
    ]  # fmt: skip
    assert (found.seed, found.stream, found.notes) == (42, 1, ())
    assert found.n_parameters == 600 + 30 + 256 + 1 + 3
    for tensor in found.tensors:
        assert tensor.digest == tensor.recorded_digest is not None


def test_one_npy_file_is_known_by_the_manifest_beside_it() -> None:
    written("w.npy", ONE)
    Path("w.npy").rename("other.npy")
    Path("w.npy.kinit.json").rename("other.npy.kinit.json")
    for check in (verify_file, verify_digests):
        found = check("other.npy")
        assert found.is_same
        assert found.tensors[0].path == "z/kernel"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_every_dtype_and_another_storage(dtype: str) -> None:
    written("w.h5", SPEC.replace("seed: 42", f"seed: 42\ndtype: {dtype}"))
    assert verify_file("w.h5").is_same
    if dtype != "bfloat16":
        # Compressed, and big endian: the elements are the same.
        with h5py.File("w.h5", "a") as file:
            values = file["z/kernel"][()]
            del file["z/kernel"]
            big = values.astype(values.dtype.newbyteorder(">"))
            file.create_dataset("z/kernel", data=big, chunks=(7, 11), compression=1)
        for check in (verify_file, verify_digests):
            assert check("w.h5").is_same


# --- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["big.h5", "big.npy", "big/"])
@pytest.mark.parametrize("jobs", [1, 4])
def test_one_bit_in_a_middle_tile_is_found_where_it_is(target: str, jobs: int) -> None:
    written(target, LARGE)
    place = (1, 300_000, 1)
    assert TILE_ELEMENTS < np.ravel_multi_index(place, LARGE_SHAPE) < 2 * TILE_ELEMENTS
    kept: list[Any] = []

    def flip(values: Any) -> Any:
        bits = values.view(np.uint32)
        kept.append(values[place].item())
        bits[place] ^= 1
        # In the last tile too: the first one is told, whichever thread comes first.
        bits[2, -1, 1] ^= 1 << 31
        kept.append(values[place].item())
        return values

    if target.endswith(".npy"):
        np.save(target, flip(np.load(target)))
    else:
        change(target, "big/kernel", flip)
    tensor = only(verify_file(target, means=Means(jobs=jobs)))
    assert (tensor.status, tensor.n_different) == ("values", 2)
    assert tensor.first is not None
    assert tensor.first.index == place
    expected, found = (np.float32(value) for value in kept)
    assert np.float32(tensor.first.expected.value) == expected
    assert np.float32(tensor.first.found.value) == found
    assert int(tensor.first.expected.bits, 16) ^ int(tensor.first.found.bits, 16) == 1
    assert only(verify_digests(target, jobs=jobs)).status == "values"


def test_the_report_does_not_depend_on_threads() -> None:
    written("w.h5", LARGE)
    change("w.h5", "big/kernel", lambda values: values[:, ::-1].copy())
    first, second = (verify_file("w.h5", means=Means(jobs=jobs)) for jobs in (1, 4))
    assert first.tensors == second.tensors
    values = np.zeros(1)
    with h5py.File("w.h5") as file:
        values = file["big/kernel"][()]
    turned = values[:, ::-1]
    assert only(first).n_different == np.count_nonzero(values != turned)


@pytest.mark.parametrize("target", OUTPUTS)
def test_negative_zero_and_nan_are_told_by_their_bits(target: str) -> None:
    written(target)

    def edit(values: Any) -> Any:
        values[3] = -0.0
        return values

    change(target, "z/bias", edit)
    tensor = only(verify_file(target))
    assert tensor.first is not None
    assert (tensor.n_different, tensor.first.index) == (1, (3,))
    assert tensor.first.to_json() == {
        "index": [3],
        "expected": {"value": "0.0", "bits": "00000000"},
        "found": {"value": "-0.0", "bits": "80000000"},
    }
    change(target, "z/bias", lambda values: np.full_like(values, np.nan))
    tensor = only(verify_file(target))
    assert tensor.first is not None
    assert (tensor.n_different, tensor.first.found.bits) == (30, "7fc00000")


def test_a_whole_matrix_and_other_types_are_compared_too() -> None:
    written("w.h5")
    change("w.h5", "a/q", lambda q: np.nextafter(q, np.where(np.eye(16) > 0, 9, q)))
    change("w.h5", "m/n", lambda n: n + 1)
    change("w.h5", "m/f", lambda f: np.array([False, False, True]))
    found = {tensor.path: tensor for tensor in verify_file("w.h5").differing}
    assert {path: tensor.n_different for path, tensor in found.items()} == {
        "a/q": 16, "m/n": 1, "m/f": 1,
    }  # fmt: skip
    for path, index, bits in (("a/q", (0, 0), 16), ("m/n", (), 16), ("m/f", (2,), 2)):
        first = found[path].first
        assert first is not None
        assert (first.index, len(first.found.bits)) == (index, bits)


def test_swapped_tensors_both_differ() -> None:
    written("w.h5", ONE.replace("}}}]", "}}}, {name: y, weights: {kernel: {shape: [20, 30]}}}]"))
    with h5py.File("w.h5", "a") as file:
        file.move("z/kernel", "t")
        file.move("y/kernel", "z/kernel")
        file.move("t", "y/kernel")
    assert statuses(verify_file("w.h5")) == {"z/kernel": "values", "y/kernel": "values"}
    assert statuses(verify_digests("w.h5")) == {"z/kernel": "values", "y/kernel": "values"}


# --- names, shapes, records -------------------------------------------------------------------


@pytest.mark.parametrize("target", OUTPUTS)
@pytest.mark.parametrize("check", [verify_file, verify_digests])
def test_missing_extra_shape_and_dtype(target: str, check: Callable[[str], Verification]) -> None:
    written(target)
    change(target, "z/kernel", lambda values: values.T.copy())
    change(target, "z/bias", lambda values: values.astype("f8"))
    change(target, "m/n", lambda values: None)
    if target.endswith("/"):
        Path(target, "m/f.npy").rename(Path(target, "m/g.npy"))
    else:
        with h5py.File(target, "a") as file:
            file.move("m/f", "m/g")
    found = check(target)
    assert statuses(found) == {
        "z/kernel": "shape", "z/bias": "dtype", "m/n": "missing", "m/f": "missing", "m/g": "extra",
    }  # fmt: skip
    kernel = found.tensors[0]
    assert (kernel.expected_shape, kernel.shape) == ((20, 30), (30, 20))
    assert (found.tensors[1].expected_dtype, found.tensors[1].dtype) == ("float32", "float64")


def test_a_bfloat16_tensor_is_no_float16_one() -> None:
    written("w.h5", ONE + "\ndtype: bfloat16")
    with h5py.File("w.h5", "a") as file:
        values = file["z/kernel"][()].view(ml_dtypes.bfloat16)
        del file["z/kernel"]
        file["z/kernel"] = values.astype("f2")
    assert statuses(verify_file("w.h5")) == {"z/kernel": "dtype"}


@pytest.mark.parametrize("target", OUTPUTS)
def test_a_digest_that_was_edited_is_told(target: str) -> None:
    written(target)

    def edit(manifest: Any) -> None:
        manifest["tensors"]["z/kernel"]["digest"] = "0" * 64
        manifest["tensors"]["ghost"] = manifest["tensors"]["z/bias"]
        del manifest["tensors"]["m/e"]

    edit_manifest(target, edit)
    assert statuses(verify_file(target)) == {
        "z/kernel": "record", "m/e": "record", "ghost": "missing",
    }  # fmt: skip
    assert statuses(verify_digests(target)) == {
        "z/kernel": "values", "ghost": "missing", "m/e": "extra",
    }  # fmt: skip


def test_digests_that_match_edited_values_deceive_only_the_quick_check() -> None:
    written("w.h5")
    values = np.ones((20, 30), "f4")
    change("w.h5", "z/kernel", lambda old: values)
    edit_manifest(
        "w.h5", lambda manifest: manifest["tensors"]["z/kernel"].update(digest=digest_of(values))
    )
    assert verify_digests("w.h5").is_same
    assert statuses(verify_file("w.h5")) == {"z/kernel": "values"}


def test_a_truncated_file_cannot_be_read() -> None:
    written("w.h5")
    content = Path("w.h5").read_bytes()
    Path("w.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsFileError):
        verify_file("w.h5")


@pytest.mark.parametrize("target", OUTPUTS)
def test_a_copy_of_the_file_is_as_good(target: str) -> None:
    written(target)
    if target.endswith("/"):
        shutil.copytree(target, "copy")
        assert verify_file("copy").is_same
    else:
        shutil.copy(target, "copy")
        assert verify_file("copy").is_same


PEAK = """
import resource, sys
from kinit_cli.compare.difference import diff_files
from kinit_cli.means import Means
from kinit_cli.compare.verification import verify_file
path = sys.argv[1]
found = diff_files(path, path, jobs=2), verify_file(path, means=Means(jobs=2))
assert all(one.is_same for one in found)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, found[1].n_bytes)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file() -> None:
    if sys.platform != "linux":
        pytest.skip("ru_maxrss is in KiB on Linux only")
    peaks = {}
    for n_tiles in (8, 96):
        weights = f"kernel: {{shape: [{n_tiles}, {TILE_ELEMENTS}], initializer: ones}}"
        name = f"{n_tiles}.h5"
        written(name, f"seed: 1\nlayers: [{{name: a, weights: {{{weights}}}}}]")
        done = subprocess.run(
            [sys.executable, "-c", PEAK, name], capture_output=True, text=True, check=True
        )
        peaks[n_tiles], n_bytes = map(int, done.stdout.split())
        assert n_bytes == 4 * n_tiles * TILE_ELEMENTS
    assert peaks[96] - peaks[8] < 30
