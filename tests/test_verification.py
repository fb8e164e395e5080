"""`verify_file` and `verify_digests`: whatever is done to a file is found, and where."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

import kinit_cli.engines.keras
import kinit_cli.remaking
from kinit_cli.checks import TensorCheck, Verification
from kinit_cli.digest import TILE_ELEMENTS, digest_of
from kinit_cli.draw import Called
from kinit_cli.engines import get_engine
from kinit_cli.errors import KinitError, SpecError, UnavailableError, WeightsFileError
from kinit_cli.formats.registry import choose_writer
from kinit_cli.means import Means
from kinit_cli.origin import Origin
from kinit_cli.pipeline import Output, generate
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.render import Console
from kinit_cli.render_verification import render_verification
from kinit_cli.spec.load import parse_spec
from kinit_cli.verification import verify_digests, verify_file

SPEC = """\
seed: 42
layers:
  - {name: z, weights: {kernel: {shape: [20, 30], initializer: he_normal}, bias: {shape: [30]}}}
  - {name: a, weights: {q: {shape: [16, 16], initializer: orthogonal, dtype: float64}}}
  - name: m
    weights: {n: {shape: [], dtype: int64}, f: {shape: [3], dtype: bool}, e: {shape: [0]}}
"""
ONE = "seed: 5\nlayers: [{name: z, weights: {kernel: {shape: [20, 30]}}}]"
#: Three tiles, the last of them short.
LARGE_SHAPE = (3, TILE_ELEMENTS // 2 + 1000, 2)
LARGE = f"seed: 9\nlayers: [{{name: big, weights: {{kernel: {{shape: {list(LARGE_SHAPE)}}}}}}}]"
OUTPUTS = ["w.h5", "w/"]


def plan_of(text: str) -> Plan:
    return make_plan(parse_spec(text.encode(), "spec.yaml"))


def written(target: str, text: str = SPEC) -> str:
    plan = plan_of(text)
    writer = choose_writer(target, None, n_tensors=len(plan.tensors))
    output = Output(target=Path(target), writer=writer)
    generate(plan, output, engine=get_engine("numpy"), jobs=1)
    return target


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def change(target: str, path: str, edit: Callable[[Any], Any]) -> None:
    """Put another array in place of a tensor, or none."""
    if target.endswith("/"):
        file = Path(target, f"{path}.npy")
        values = edit(np.load(file))
        file.unlink() if values is None else np.save(file, values)
        return
    with h5py.File(target, "a") as opened:
        values = edit(opened[path][()])
        del opened[path]
        if values is not None:
            opened[path] = values


def edit_manifest(target: str, edit: Callable[[Any], None]) -> None:
    if target.endswith("/"):
        file = Path(target, "kinit.json")
        manifest = json.loads(file.read_text("utf-8"))
        edit(manifest)
        file.write_text(json.dumps(manifest), "utf-8")
        return
    with h5py.File(target, "a") as opened:
        manifest = json.loads(opened.attrs["kinit"])
        edit(manifest)
        opened.attrs["kinit"] = json.dumps(manifest)


def statuses(found: Verification) -> dict[str, str]:
    return {tensor.path: tensor.status for tensor in found.differing}


def only(found: Verification) -> TensorCheck:
    (tensor,) = found.differing
    return tensor


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


# --- another spec -----------------------------------------------------------------------------


def loaded(text: str) -> Any:
    return parse_spec(text.encode(), "other.yaml")


def test_the_seed_of_the_file_goes_for_a_spec_without_one() -> None:
    written("w.h5")
    found = verify_file("w.h5", spec=loaded(SPEC.replace("seed: 42\n", "")))
    assert (found.is_same, found.seed, found.spec, found.notes) == (True, 42, "other.yaml", ())
    other = verify_file("w.h5", spec=loaded(SPEC.replace("seed: 42", "seed: 43")))
    assert statuses(other) == {"z/kernel": "values", "a/q": "values"}
    assert other.notes == ("the file records a spec that is written otherwise than this one",)


def test_a_file_that_says_nothing_needs_a_spec_and_a_seed() -> None:
    written("w.h5")
    with h5py.File("w.h5", "a") as file:
        del file.attrs["kinit"]
    for check in (verify_file, verify_digests):
        with pytest.raises(WeightsFileError, match="expected kinit's manifest in it"):
            check("w.h5")
    assert verify_file("w.h5", spec=loaded(SPEC)).is_same
    with pytest.raises(KinitError, match=r"expected a seed, got none, and w\.h5 records none"):
        verify_file("w.h5", spec=loaded(SPEC.replace("seed: 42\n", "")))
    constant = "layers: [{name: a, weights: {bias: {shape: [3]}}}]"
    found = verify_file("w.h5", spec=loaded(constant))
    assert (statuses(found)["a/bias"], found.seed) == ("missing", None)


def test_values_of_another_stream_are_refused() -> None:
    written("w.h5")
    edit_manifest("w.h5", lambda manifest: manifest.update(stream=2))
    with pytest.raises(WeightsFileError, match="expected values of stream version 1, got 2"):
        verify_file("w.h5")
    assert verify_digests("w.h5").stream == 2


KERAS = Origin(engine="keras", version="3.15.1", backend="jax", backend_version="0.10.2")


@pytest.mark.parametrize(
    ("installed", "told"),
    [
        (replace(KERAS, version="3.9.0"), "expected Keras 3.15.1, got Keras 3.9.0; install"),
        (replace(KERAS, backend_version="0.9"), "expected jax 0.10.2, got jax 0.9; install"),
        (
            replace(KERAS, backend="torch", backend_version="2.9"),
            "expected jax 0.10.2, got torch 2.9; install what drew them, with KERAS_BACKEND=jax",
        ),
        (
            replace(KERAS, version="3.9.0", backend_version="0.9"),
            "expected Keras 3.15.1 and jax 0.10.2, got Keras 3.9.0 and jax 0.9; install",
        ),
        (UnavailableError("engine keras: Keras is not installed"), "Keras is not installed; or"),
    ],
)
def test_values_of_another_library_are_refused(
    installed: Origin | UnavailableError, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written("w.h5")
    edit_manifest("w.h5", lambda manifest: manifest.update(stream=None, origin=KERAS.to_json()))

    def origin(*, is_alone: bool) -> Origin:
        if isinstance(installed, Origin):
            return installed
        raise installed

    monkeypatch.setattr(kinit_cli.engines.keras, "keras_origin", origin)
    with pytest.raises(UnavailableError) as caught:
        verify_file("w.h5")
    message = str(caught.value)
    assert message.startswith("w.h5: its values are Keras 3.15.1's own, on jax 0.10.2")
    assert told in message
    assert message.endswith("; or --quick compares with the recorded digests")
    found = verify_digests("w.h5")
    assert found.is_same
    assert found.origin == KERAS


def test_values_of_an_unknown_library_are_refused() -> None:
    written("w.h5")
    other = replace(KERAS, engine="flax").to_json()
    edit_manifest("w.h5", lambda manifest: manifest.update(stream=None, origin=other))
    with pytest.raises(WeightsFileError, match="which this kinit cannot make again; --quick"):
        verify_file("w.h5")


def test_a_recorded_spec_that_is_none_is_an_error() -> None:
    written("w.h5")
    edit_manifest("w.h5", lambda manifest: manifest.update(spec={"layers": 5}))
    with pytest.raises(SpecError, match="its recorded spec"):
        verify_file("w.h5")
    with h5py.File("w.h5", "a") as file:
        file.attrs["kinit"] = "{"
    with pytest.raises(WeightsFileError, match="manifest is damaged"):
        verify_file("w.h5")
    found = verify_file("w.h5", spec=loaded(SPEC))
    assert found.is_same
    assert found.notes[0].startswith("what the file says about itself cannot be used")


# --- parts, functions, progress ---------------------------------------------------------------


def test_a_pattern_chooses_tensors() -> None:
    written("w.h5")
    change("w.h5", "z/bias", lambda values: values + 1)
    change("w.h5", "m/n", lambda values: None)
    assert verify_file("w.h5", pattern="*/kernel").is_same
    assert statuses(verify_file("w.h5", pattern="z/*")) == {"z/bias": "values"}
    assert statuses(verify_digests("w.h5", pattern="m/n")) == {"m/n": "missing"}
    with pytest.raises(WeightsFileError, match="expected a tensor that matches 'q', got none"):
        verify_file("w.h5", pattern="q")


def test_functions_are_called_as_for_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(text: str = SPEC) -> Plan:
        generator = np.random.default_rng(0)

        def draw(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
            return generator.random(shape).astype(dtype)

        plan = plan_of(text)
        called = [
            replace(one, draw=Called(function=draw)) if one.path.startswith("z/") else one
            for one in plan.tensors
        ]
        return replace(plan, tensors=tuple(called))

    output = Output(target=Path("w.h5"), writer=choose_writer("w.h5", None, n_tensors=6))
    generate(planned(), output, engine=get_engine("numpy"), jobs=1)
    monkeypatch.setattr(kinit_cli.remaking, "plan_of", lambda *args, **options: planned())
    assert verify_file("w.h5").is_same
    # The kernel's function draws first, whether the kernel is looked at or not.
    assert verify_file("w.h5", pattern="z/bias").is_same
    change("w.h5", "z/kernel", lambda values: None)
    change("w.h5", "z/bias", lambda values: values[::-1].copy())
    assert statuses(verify_file("w.h5")) == {"z/kernel": "missing", "z/bias": "values"}


@pytest.mark.parametrize("check", [verify_file, verify_digests])
def test_progress_adds_up(check: Callable[..., Verification]) -> None:
    written("w.h5", LARGE)
    calls: list[int] = []
    found = check("w.h5", progress=calls.append)
    assert sum(calls) == found.n_bytes == 4 * np.prod(LARGE_SHAPE)


def test_an_interrupt_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    written("w.h5", LARGE)

    def interrupt(n_bytes: int) -> None:
        raise KeyboardInterrupt

    for check in (verify_file, verify_digests):
        with pytest.raises(KeyboardInterrupt):
            check("w.h5", progress=interrupt)


# --- shown ------------------------------------------------------------------------------------


def shown(found: Verification, width: int = 80) -> str:
    console = Console(width=width, color_system=None, highlight=False, markup=False)
    with console.capture() as capture:
        render_verification(replace(found, seconds=0.0), console=console)
    # Versions of Rich differ by a character in the length of the line below the headers.
    lines = re.sub("─+", "─", capture.get()).splitlines()
    return "\n".join(line.rstrip() for line in lines)


def test_what_is_shown() -> None:
    written("w.h5")
    assert shown(verify_file("w.h5")) == (
        "w.h5: every bit is what the spec gives (seed 42, stream 1)\n"
        "6 tensors, 890 parameters, 4.6 kB (4.5 KiB), 0.00 s"
    )
    change("w.h5", "z/kernel", lambda values: values * np.float32(2))
    change("w.h5", "z/bias", lambda values: -values)
    change("w.h5", "m/n", lambda values: None)
    change("w.h5", "a/q", lambda values: values.astype("f4"))
    change("w.h5", "m/f", lambda values: np.zeros((1, 3), bool))
    edit_manifest("w.h5", lambda m: m["tensors"]["m/e"].update(digest="1" * 64))
    assert (
        shown(verify_file("w.h5"))
        == """\
tensor    differs     at     expected      found
─
z/kernel  600 of 600  [0,0]  -0.43003154   -0.8600631
z/bias    30 of 30    [0]    0.0           -0.0
a/q       dtype              float64       float32
m/n       missing            int64 scalar
m/f       shape              bool 3        bool 1×3
m/e       record             af1349b9f5f9  111111111111

w.h5: 6 tensors are not as expected
6 tensors, 630 parameters, 2.5 kB (2.5 KiB), 0.00 s"""
    )


def test_many_rows_are_cut(tmp_path: Path) -> None:
    layers = "[{name: 'b{i}', weights: {k: {shape: [2]}}}]"
    text = f"seed: 1\nlayers: [{{repeat: 300, index: i, layers: {layers}}}]"
    written("w.h5", text)
    found = verify_file("w.h5", spec=loaded(text.replace("[2]", "[3]")))
    lines = shown(found).splitlines()
    assert len(lines) < 50
    assert "(260 of 300 are not shown; --json has them all)" in lines
    assert len(found.to_json()["tensors"]) == 300  # type: ignore[arg-type]


def test_names_are_shown_verbatim() -> None:
    with h5py.File("w.h5", "w") as file:
        file["[/]\x1b[31m"] = np.zeros(3)
    spec = loaded("seed: 1\nlayers: [{name: a, weights: {b: {shape: [2]}}}]")
    assert "[/]\\x1b[31m" in shown(verify_file("w.h5", spec=spec))


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
from kinit_cli.difference import diff_files
from kinit_cli.means import Means
from kinit_cli.verification import verify_file
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
