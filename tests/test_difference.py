"""`diff_files`: which tensors of two files differ, across formats."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from conftest import Kinit

from kinit_cli.compare.difference import FileDiff, diff_files
from kinit_cli.compare.distance import Tolerance
from kinit_cli.digest import TILE_ELEMENTS
from kinit_cli.errors import WeightsFileError
from kinit_cli.render.diff import render_diff
from kinit_cli.render.text import Console

RNG = np.random.default_rng(3)
KERNEL = RNG.standard_normal((30, 40)).astype("f4")
BIAS = np.arange(5, dtype="f4")


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def h5(name: str, **tensors: Any) -> str:
    """Write an HDF5 file; `__` in a name stands for '/'."""
    with h5py.File(name, "w") as file:
        for path, values in tensors.items():
            file[path.replace("__", "/")] = values
    return name


def npy(name: str, **tensors: Any) -> str:
    for path, values in tensors.items():
        file = Path(name, path.replace("__", "/") + ".npy")
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, values)
    return name


def statuses(diff: FileDiff) -> dict[str, str]:
    return {tensor.path: tensor.status for tensor in diff.tensors}


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_same_tensors_in_another_format_are_identical(order: str) -> None:
    a = h5("a.h5", z__kernel=KERNEL, z__bias=BIAS, n=np.int64(3), e=np.zeros((0, 2)))
    big = KERNEL.astype(f"{order}f4")
    b = npy("b", z__kernel=np.asfortranarray(big), z__bias=BIAS, n=np.int64(3), e=np.zeros((0, 2)))
    for one, other in ((a, b), (b, a), (a, a)):
        found = diff_files(one, other)
        assert found.is_same
        assert set(statuses(found).values()) == {"identical"}
        assert found.n_bytes == 2 * (KERNEL.nbytes + BIAS.nbytes + 8)


def test_every_status() -> None:
    other = KERNEL.copy()
    other[3, 7] += np.float32(0.5)
    other[29, 39] = 100
    zeros = np.zeros(4, "f4")
    a = h5("a.h5", k=KERNEL, same=BIAS, zero=zeros, wide=BIAS, shape=KERNEL, a=BIAS, t="x")
    b = h5("b.h5", k=other, same=BIAS, zero=-zeros, wide=BIAS.astype("f8"), shape=KERNEL.T, b=BIAS,
           t="x")  # fmt: skip
    found = diff_files(a, b)
    assert statuses(found) == {
        "a": "only_a", "b": "only_b", "k": "different", "same": "identical", "shape": "shape",
        "t": "not_compared", "wide": "equal", "zero": "equal",
    }  # fmt: skip
    assert not found.is_same
    assert {tensor.path for tensor in found.differing} == set(statuses(found)) - {"same"}
    (kernel,) = [tensor for tensor in found.tensors if tensor.path == "k"]
    assert kernel.distance is not None
    x, y = KERNEL.astype("f8"), other.astype("f8")
    assert kernel.distance.n_values == 2
    assert kernel.distance.max_abs == np.abs(x - y).max()
    assert kernel.distance.max_rel == (np.abs(x - y) / np.maximum(np.abs(x), np.abs(y))).max()
    assert kernel.index == (3, 7)
    (zero,) = [tensor for tensor in found.tensors if tensor.path == "zero"]
    assert zero.first is not None
    assert (zero.first.a.bits, zero.first.b.bits) == ("00000000", "80000000")
    json.dumps(found.to_json(), allow_nan=False)


def test_a_tolerance_lets_equal_and_close_pass() -> None:
    a = h5("a.h5", k=KERNEL, wide=BIAS)
    b = h5("b.h5", k=KERNEL * np.float32(1.0001), wide=BIAS.astype("f8"))
    assert not diff_files(a, b).is_same
    found = diff_files(a, b, tolerance=Tolerance(rtol=2e-4))
    assert found.is_same
    assert statuses(found) == {"k": "close", "wide": "equal"}
    found = diff_files(a, b, tolerance=Tolerance(rtol=1e-5))
    assert statuses(found) == {"k": "different", "wide": "equal"}
    assert [tensor.path for tensor in found.differing] == ["k"]
    assert diff_files(
        a, h5("c.h5", k=KERNEL, wide=BIAS.astype("f8")), tolerance=Tolerance()
    ).is_same


def test_bfloat16_is_compared_with_float32() -> None:
    narrow = KERNEL.astype(ml_dtypes.bfloat16)
    with h5py.File("n.h5", "w") as file:
        file["k"] = narrow.view("V2")
        file["k"].attrs["dtype"] = "bfloat16"
    assert statuses(diff_files("n.h5", h5("w.h5", k=narrow.astype("f4")))) == {"k": "equal"}
    (found,) = diff_files("n.h5", h5("k.h5", k=KERNEL)).tensors
    assert found.distance is not None
    assert found.distance.max_abs == np.abs(KERNEL.astype("f8") - narrow.astype("f8")).max()


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_difference_in_a_later_tile(jobs: int) -> None:
    values = RNG.standard_normal((3, TILE_ELEMENTS // 2 + 1000, 2)).astype("f4")
    other = values.copy()
    place = (2, TILE_ELEMENTS // 2 - 5, 1)
    other[place] = np.nan
    other[2, TILE_ELEMENTS // 2, 0] += 1
    a, b = h5("a.h5", x=values, s=BIAS), npy("b", x=other, s=BIAS)
    found = diff_files(a, b, jobs=jobs)
    (x,) = found.differing
    assert x.index == place
    assert x.distance is not None
    assert (x.distance.n_values, x.distance.n_not_finite) == (2, 1)
    assert x.distance.max_abs == pytest.approx(1.0, rel=1e-6)
    assert found.tensors == diff_files(a, b, jobs=3 - jobs // 2).tensors


# --- matching ---------------------------------------------------------------------------------


def test_a_dot_is_read_as_a_slash_where_that_is_clear() -> None:
    dotted = {"z.kernel": KERNEL, "a.b/c": BIAS, "p.q": BIAS}
    with h5py.File("b.h5", "w") as file:
        for path, values in dotted.items():
            file[path] = values
    a = h5("a.h5", z__kernel=KERNEL, a__b__c=BIAS, p__q=BIAS)
    with h5py.File(a, "a") as file:
        file["p.q"] = BIAS + 1
    found = diff_files(a, "b.h5")
    pairs = {(t.a and t.a.path, t.b and t.b.path): t.status for t in found.tensors}
    assert pairs == {
        ("z/kernel", "z.kernel"): "identical", ("a/b/c", "a.b/c"): "identical",
        # An exact match goes first.
        ("p.q", "p.q"): "different", ("p/q", None): "only_a",
    }  # fmt: skip
    with h5py.File("b.h5", "a") as file:
        file["a/b.c"] = BIAS
    assert statuses(diff_files(a, "b.h5"))["a/b/c"] == "only_a"


DENSE = "{{name: {}, type: Dense, input_shape: [3], config: {{units: 2}}}}"


def test_a_file_that_keras_saved_again_is_compared_by_its_places(kinit: Kinit) -> None:
    for name, layer in (("w", "d"), ("x", "e")):
        Path("s.yaml").write_text(f"seed: 1\nlayers: [{DENSE.format(layer)}]")
        assert kinit("generate", "s.yaml", "-o", f"{name}.weights.h5", "-q").returncode == 0
    with h5py.File("w.weights.h5") as old, h5py.File("saved.weights.h5", "w") as new:
        new["layers/dense/vars/0"] = old["layers/dense/vars/0"][()]
        new["layers/dense/vars/1"] = old["layers/dense/vars/1"][()] + 1
        new["layers/dense_1/vars/0"] = BIAS
    there = statuses(diff_files("w.weights.h5", "saved.weights.h5"))
    assert there == {
        "d/kernel": "identical", "d/bias": "different", "layers/dense_1/vars/0": "only_b",
    }  # fmt: skip
    back = diff_files("saved.weights.h5", "w.weights.h5", pattern="d/*")
    assert [tensor.status for tensor in back.tensors] == ["identical", "different"]
    # Both say what they have there, and it is not the same tensor.
    other = diff_files("w.weights.h5", "x.weights.h5")
    assert {tensor.status for tensor in other.tensors} == {"only_a", "only_b"}


def test_a_single_npy_file_is_known_by_its_manifest_or_by_being_alone() -> None:
    from test_verification import ONE, written

    written("w.npy", ONE)
    written("w.h5", ONE)
    found = diff_files("w.npy", "w.h5")
    assert statuses(found) == {"z/kernel": "identical"}
    with h5py.File("w.h5", "a") as file:
        file["more"] = BIAS
    assert statuses(diff_files("w.npy", "w.h5")) == {"z/kernel": "identical", "more": "only_b"}
    np.save("x.npy", KERNEL)
    np.save("y.npy", KERNEL)
    assert statuses(diff_files("x.npy", "y.npy")) == {"x": "identical"}
    assert statuses(diff_files("x.npy", h5("k.h5", k=KERNEL))) == {"x": "identical"}
    assert statuses(diff_files(h5("k.h5", k=KERNEL), h5("l.h5", l=KERNEL))) == {
        "k": "only_a", "l": "only_b",
    }  # fmt: skip


def test_a_pattern_chooses_tensors_of_either_file() -> None:
    a, b = h5("a.h5", x=BIAS, y=BIAS), h5("b.h5", x=BIAS, y=BIAS + 1, w=BIAS)
    assert diff_files(a, b, pattern="x").is_same
    assert statuses(diff_files(a, b, pattern="w")) == {"w": "only_b"}
    with pytest.raises(WeightsFileError, match="expected a tensor that matches 'q'"):
        diff_files(a, b, pattern="q")


def test_notes_of_both_files_are_kept() -> None:
    a, b = h5("a.h5", x=BIAS), h5("b.h5", x=BIAS)
    with h5py.File(b, "a") as file:
        file["soft"] = h5py.SoftLink("/x")
    assert diff_files(a, b).notes == ("b.h5: soft links are not followed: soft",)


# --- shown ------------------------------------------------------------------------------------


def shown(found: FileDiff) -> str:
    console = Console(width=80, color_system=None, highlight=False, markup=False)
    with console.capture() as capture:
        render_diff(replace(found, seconds=0.0), console=console)
    lines = re.sub("─+", "─", capture.get()).splitlines()
    return "\n".join(line.rstrip() for line in lines)


def test_what_is_shown() -> None:
    a = h5("a.h5", k=np.array([1, 2, 4], "f4"), z=np.zeros(2), w=BIAS, s=BIAS, n=np.float32(np.nan))
    b = h5("b.h5", k=np.array([1, 3, 4], "f4"), z=-np.zeros(2), w=BIAS.astype("f8"),
           s=BIAS[:2], x=BIAS, n=-np.float32(np.nan))  # fmt: skip
    assert shown(diff_files(a, a)) == (
        "A a.h5 (hdf5), B a.h5 (hdf5): the same\n5 tensors, 5 identical, 144 bytes compared, 0.00 s"
    )
    assert (
        shown(diff_files(a, b))
        == """\
tensor  differs       max abs  max rel  at   A, B
─
k       1 of 3        1        0.3333   [1]  2.0, 3.0
n       1 of 1        -        -        []   nan (0x7fc00000), nan (0xffc00000)
s       shape                                float32 5, float32 2
w       equal values                         float32 5, float64 5
z       equal values                    [0]  0.0, -0.0
x       only in B                            float32 5

A a.h5 (hdf5), B b.h5 (hdf5): 6 tensors differ
6 tensors, 2 equal, 124 bytes compared, 0.00 s
0 equals -0; NaN is compared by its bits and equals no other NaN
note: 1 tensor: float32 in A, float64 in B"""
    )
    close = diff_files(a, b, tolerance=Tolerance(atol=1), pattern="[kz]")
    assert shown(close).splitlines()[2:6] == [
        "k       1 close       1        0.3333   [1]  2.0, 3.0",
        "z       equal values                    [0]  0.0, -0.0",
        "",
        "A a.h5 (hdf5), B b.h5 (hdf5): the same within the tolerance",
    ]
