"""`inspect --check`: a file as it was written passes, a changed one is caught."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from every_engine import every_engine

from kinit_cli.cli.main import run
from kinit_cli.digest import digest_of
from kinit_cli.engines import get_engine
from kinit_cli.engines.base import Engine
from kinit_cli.errors import WeightsFileError
from kinit_cli.formats.base import Buffer, Writer
from kinit_cli.formats.hdf5 import Hdf5Writer
from kinit_cli.formats.npy import NpyDirectoryWriter
from kinit_cli.formats.npz import NpzWriter
from kinit_cli.formats.safetensors import SafetensorsWriter
from kinit_cli.inspect import inspect_file
from kinit_cli.origin import Origin
from kinit_cli.pipeline import Output, fill, generate
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec
from kinit_cli.summary import FileSummary

SPEC = """\
seed: 42
layers:
  - name: a
    weights:
      kernel: {shape: [300, 50], initializer: he_normal}
      large: {shape: [1100, 1000], initializer: glorot_uniform}
      half: {shape: [40, 50], initializer: {random_normal: {mean: 1, stddev: 0.02}}, dtype: float16}
      bias: {shape: [50]}
      matrix: {shape: [64, 300], initializer: orthogonal}
      tall: {shape: [1100, 1000], initializer: {orthogonal: {gain: 2}}}
      eye: {shape: [5, 5], initializer: identity}
      empty: {shape: [0]}
      count: {shape: [3], dtype: int32, initializer: ones}
"""
N_TENSORS = 9
ORIGIN = Origin(engine="keras", version="3.15.1", backend="jax", backend_version="0.10.2")


def written(target: Path, engine: Engine | None = None) -> FileSummary:
    plan = make_plan(parse_spec(SPEC.encode(), "spec.yaml"))
    writer = Hdf5Writer() if target.suffix == ".h5" else NpyDirectoryWriter()
    output = Output(target=target, writer=writer)
    return generate(plan, output, engine=engine or get_engine("numpy"), jobs=2)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "w.h5"
    written(path)
    return path


@pytest.fixture
def h5(sound: Path, tmp_path: Path) -> Path:
    path = tmp_path / "w.h5"
    path.write_bytes(sound.read_bytes())
    return path


def verdicts(summary: FileSummary) -> dict[str, str]:
    return {tensor.path: tensor.test.verdict for tensor in summary.tensors if tensor.test}


def failures(path: Path, *, without_digests: bool = False) -> dict[str, str]:
    """Give the reasons of the tensors that fail, by path."""
    if without_digests:
        forget_digests(path)
    summary = inspect_file(path, check=True, jobs=2)
    assert summary.tests is not None
    failed = [t for t in summary.tensors if t.test and t.test.verdict == "fail"]
    assert summary.tests.n_failed == len(failed)
    return {t.path: "; ".join(t.test.reasons) for t in failed if t.test}


def forget_digests(path: Path) -> None:
    """Record for every tensor the digest that it has, so that only its values can tell."""
    with h5py.File(path, "a") as file:
        manifest = json.loads(file.attrs["kinit"])
        for name, record in manifest["tensors"].items():
            if name in file:
                record["digest"] = digest_of(file[name][...])
        file.attrs["kinit"] = json.dumps(manifest)


def change(path: Path, name: str, function: Callable[..., object]) -> None:
    with h5py.File(path, "a") as file:
        values = file[name][...]
        result = function(values)
        file[name][...] = values if result is None else result


@every_engine
@pytest.mark.parametrize("name", ["w.h5", "w"])
def test_a_sound_file_passes(tmp_path: Path, engine: Engine, name: str) -> None:
    made = written(tmp_path / name, engine)
    found = inspect_file(tmp_path / name, check=True)
    assert verdicts(made) == {**dict.fromkeys(verdicts(made), "pass"), "a/empty": "untested"}
    assert verdicts(found) == dict.fromkeys(verdicts(made), "pass")  # its digest is that of nothing
    for shown, drawn in zip(found.tensors, made.tensors, strict=True):
        assert shown.digest == drawn.digest == shown.recorded_digest
        assert shown.test is not None
        assert drawn.test is not None
        assert shown.test.p == drawn.test.p
        assert shown.test.orthogonality_error == drawn.test.orthogonality_error
        assert shown.test.digest_matches
    matrices = [t.test for t in found.tensors if t.path in ("a/matrix", "a/tall")]
    assert [test is not None and test.orthogonality_error is not None for test in matrices] == [
        True,
        True,
    ]
    assert found.tests is not None
    assert (found.tests.n_passed, found.tests.is_failure) == (N_TENSORS, False)


def test_without_check_nothing_is_tested_and_no_digest_computed(sound: Path) -> None:
    summary = inspect_file(sound)
    assert summary.tests is None
    assert all(tensor.test is None and tensor.digest is None for tensor in summary.tensors)


@pytest.mark.parametrize("jobs", [1, 3])
def test_threads_do_not_change_the_result(sound: Path, jobs: int) -> None:
    assert (
        inspect_file(sound, check=True, jobs=jobs).tensors
        == inspect_file(sound, check=True, jobs=2).tensors
    )


@pytest.mark.parametrize("name", ["a/kernel", "a/large", "a/matrix"])
def test_shuffled_elements_are_caught_by_the_digest(h5: Path, name: str) -> None:
    rng = np.random.default_rng(1)
    change(h5, name, lambda values: rng.shuffle(values.reshape(-1)))
    found = failures(h5)
    assert list(found) == [name]
    assert "digest" in found[name]


def test_swapped_tensors_are_caught(h5: Path) -> None:
    """Two that have the same shape: by their values, too."""
    with h5py.File(h5, "a") as file:
        file["a/large"][...], file["a/tall"][...] = file["a/tall"][...], file["a/large"][...]
    assert sorted(failures(h5, without_digests=True)) == ["a/large", "a/tall"]


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_scaled_tensors_are_caught_by_their_values(h5: Path, factor: float) -> None:
    for name in ("a/large", "a/matrix", "a/tall", "a/eye"):
        change(h5, name, lambda values: values * np.float32(factor))
    expected = ["a/eye", "a/large", "a/matrix", "a/tall"]
    assert sorted(failures(h5, without_digests=True)) == expected


def test_zeros_at_the_end_are_caught_by_the_values(h5: Path) -> None:
    for name in ("a/kernel", "a/large", "a/half", "a/matrix", "a/tall"):
        change(h5, name, lambda values: values.reshape(-1)[-values.size // 3 :].fill(0))
    found = failures(h5, without_digests=True)
    assert sorted(found) == ["a/half", "a/kernel", "a/large", "a/matrix", "a/tall"]


def test_a_column_twice_is_caught(h5: Path) -> None:
    def repeat_column(values: np.ndarray) -> None:
        values[:, -1] = values[:, 0]

    change(h5, "a/tall", repeat_column)
    found = failures(h5, without_digests=True)
    assert list(found) == ["a/tall"]
    assert "not orthonormal" in found["a/tall"]


def test_a_tensor_of_another_shape_and_a_missing_one_are_failures(h5: Path) -> None:
    with h5py.File(h5, "a") as file:
        del file["a/bias"], file["a/kernel"]
        file["a/kernel"] = np.zeros((50, 300), "f4")
        file["new"] = np.zeros(3)
    summary = inspect_file(h5, check=True)
    assert summary.tests is not None
    assert summary.tests.missing == ("a/bias",)
    assert (summary.tests.n_failed, summary.tests.n_untested) == (1, 1)
    assert verdicts(summary)["new"] == "untested"
    assert failures(h5) == {"a/kernel": "the file records float32 of the shape [300, 50] for it"}
    with pytest.raises(WeightsFileError, match="matches 'a/bias'"):
        inspect_file(h5, pattern="a/bias")
    only_missing = inspect_file(h5, pattern="a/bias", check=True)
    assert only_missing.tensors == ()
    assert only_missing.tests is not None
    assert only_missing.tests.is_failure
    other = inspect_file(h5, pattern="a/[lm]*", check=True)
    assert other.tests is not None
    assert not other.tests.is_failure


def test_values_of_another_origin_have_their_own_bounds(h5: Path) -> None:
    """Another library's uniforms may reach the upper bound."""

    def reach_bound(values: np.ndarray) -> None:
        values[0, 0] = np.nextafter(np.float32(math.sqrt(6 / 2100)), np.float32(1))

    change(h5, "a/large", reach_bound)
    assert list(failures(h5, without_digests=True)) == ["a/large"]
    with h5py.File(h5, "a") as file:
        manifest = json.loads(file.attrs["kinit"])
        manifest.update(stream=None, origin=ORIGIN.to_json())
        file.attrs["kinit"] = json.dumps(manifest)
    assert failures(h5) == {}


def test_generate_knows_of_another_origin(tmp_path: Path) -> None:
    plan = replace(make_plan(parse_spec(SPEC.encode(), "spec.yaml")), origin=ORIGIN)
    output = Output(target=tmp_path / "w.h5", writer=Hdf5Writer())
    made = generate(plan, output, engine=get_engine("numpy"), jobs=1)
    assert verdicts(made)["a/half"] == "untested"
    assert verdicts(made)["a/kernel"] == "pass"


def test_a_truncated_file_cannot_be_read(h5: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = h5.read_bytes()
    h5.write_bytes(content[: len(content) // 2])
    assert run(["inspect", str(h5), "--check"]) == 2
    assert "truncated" in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "{", '{"kinit": 1}'])
def test_without_a_manifest_there_is_nothing_to_check(h5: Path, text: str | None) -> None:
    with h5py.File(h5, "a") as file:
        del file.attrs["kinit"]
        if text is not None:
            file.attrs["kinit"] = text
    with pytest.raises(WeightsFileError, match="expected kinit's manifest"):
        inspect_file(h5, check=True)
    inspect_file(h5)


# --- the command ----------------------------------------------------------------------------


def test_the_command_says_what_failed_and_exits_with_1(
    h5: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(h5), "--check"]) == 0
    assert f"tests: {N_TENSORS} passed\n" in capsys.readouterr().out
    change(h5, "a/kernel", lambda values: values * 1.1)
    with h5py.File(h5, "a") as file:
        del file["a/bias"]
    assert run(["inspect", str(h5), "--check"]) == 1
    shown = capsys.readouterr().out
    assert f"tests: {N_TENSORS - 2} passed, 1 failed, 1 missing\n" in shown
    assert "\na/kernel: its values go from" in shown
    assert "sigma from that of the initializer" in shown
    assert "\na/bias: the file records it and does not have it\n" in shown
    assert shown.count("fails its test") == 1
    assert run(["inspect", str(h5)]) == 0
    assert "fail" not in capsys.readouterr().out
    assert run(["inspect", str(h5), "--check", "--quiet"]) == 1
    assert capsys.readouterr().out == ""
    assert run(["inspect", str(h5), "--check", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["tests"]["n_failed"] == 1
    assert document["tests"]["missing"] == ["a/bias"]


OTHERS = """\
seed: 3
layout: torch
layers:
  - name: a
    weights:
      filters: {shape: [16, 8, 3, 3], initializer: orthogonal_}
      tall: {shape: [90, 4, 3], initializer: {orthogonal_: {gain: 2}}}
      eighth: {dtype: float8_e4m3fn, shape: [64, 300], initializer: he_normal}
      narrow: {dtype: float8_e5m2, shape: [64, 300], initializer: orthogonal}
      bounded: {shape: [64, 30], initializer: {trunc_normal: {std: 0.02}}}
      delta: {shape: [8, 4, 3], initializer: delta_orthogonal}
      few: {shape: [64, 30], initializer: {sparse: {sparsity: 0.1}}}
      middle: {shape: [8, 4, 3], initializer: dirac}
"""


@pytest.mark.parametrize("writer", [SafetensorsWriter(), NpzWriter()], ids=lambda one: one.name)
def test_files_with_names_of_their_own_are_checked(tmp_path: Path, writer: Writer) -> None:
    spec = (
        OTHERS
        if writer.name == "safetensors"
        else re.sub("float8_e[45]m[23](fn)?", "float16", OTHERS)
    )
    plan = make_plan(parse_spec(spec.encode(), "spec.yaml"))
    target = tmp_path / f"w.{writer.name}"
    made = generate(plan, Output(target=target, writer=writer), engine=get_engine("numpy"), jobs=2)
    verdicts = {one.path: one.test.verdict for one in made.tensors if one.test}
    assert verdicts == {tensor.path: "pass" for tensor in plan.tensors}
    found = inspect_file(target, check=True)
    assert [one.test.digest_matches for one in found.tensors if one.test] == [True] * 8
    assert [one.recorded_digest for one in found.tensors] == [one.digest for one in made.tensors]
    for shown, drawn in zip(found.tensors, made.tensors, strict=True):
        assert shown.test is not None
        assert drawn.test is not None
        assert shown.test.orthogonality_error == drawn.test.orthogonality_error
        assert shown.test.chi2 == drawn.test.chi2
    errors = {one.path for one in found.tensors if one.test and one.test.orthogonality_error}
    assert errors == {"a.filters", "a.tall", "a.narrow", "a.delta"}


class NoLayout:
    def write(self, tensor_index: int, byte_offset: int, data: Buffer) -> None:
        pass

    def close(self) -> None:
        pass


def test_what_is_not_measured_is_not_tested() -> None:
    plan = make_plan(parse_spec(OTHERS.encode(), "spec.yaml"))
    tensors = fill(plan, NoLayout(), engine=get_engine("numpy"), jobs=2, is_measured=False)
    assert [(one.stats, one.test) for one in tensors] == [(None, None)] * 8
