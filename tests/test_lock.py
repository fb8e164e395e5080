"""`kinit lock` and `generate --locked`: a changed bit is told, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from conftest import SMALL_SPEC

import kinit_cli
from kinit_cli.cli.main import run
from kinit_cli.compare.lockfile import read_lock
from kinit_cli.compare.locking import make_lock, spec_digest
from kinit_cli.digest import digest_of
from kinit_cli.engines.numpy import NumpyEngine
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import load_spec

LOCK = Path("small.yaml.lock")
HOOKS = Path(__file__).parents[1] / ".pre-commit-hooks.yaml"


@pytest.fixture(autouse=True)
def in_tmp_path(small_spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_spec.parent)


def kinit(*arguments: str) -> int:
    return run(list(arguments))


def write_spec(old: str, new: str) -> None:
    assert old in SMALL_SPEC
    Path("small.yaml").write_text(SMALL_SPEC.replace(old, new), "utf-8")


def edit_lock(edit: Any) -> None:
    raw = json.loads(LOCK.read_text("utf-8"))
    edit(raw)
    LOCK.write_text(json.dumps(raw), "utf-8")


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


# --- writing ----------------------------------------------------------------------------------


def test_the_lock_of_a_small_spec(capsys: pytest.CaptureFixture[str]) -> None:
    """A golden, made of what other parts of kinit say."""
    assert kinit("lock", "small.yaml") == 0
    assert capsys.readouterr().out == "small.yaml.lock: 4 tensors locked\n"
    assert files() == ["small.yaml", "small.yaml.lock"]
    arrays = kinit_cli.arrays("small.yaml")
    spec = (
        '{"layers":[{"name":"dense","weights":{"bias":{"shape":[10]},"kernel":{"shape":[20,10]}}},'
        '{"name":"rnn","weights":{"count":{"dtype":"int64","shape":[]},'
        '"recurrent_kernel":{"shape":[16,64]}}}],"seed":7}'
    )
    lines = [
        f'    "{path}": {{"dtype": "{values.dtype.name}", "shape": {list(values.shape)}, '
        f'"digest": "{digest_of(values)}"}}'
        for path, values in arrays.items()
    ]
    assert LOCK.read_text("ascii") == (
        '{\n  "kinit_lock": 1,\n  "stream": 1,\n  "seed": 7,\n'
        f'  "spec_digest": "{blake3(spec.encode()).hexdigest()}",\n  "tensors": {{\n'
        + ",\n".join(lines)
        + "\n  }\n}\n"
    )


def test_the_lock_does_not_depend_on_threads_or_the_way_the_spec_is_written() -> None:
    assert kinit("lock", "small.yaml", "-q", "-j", "1") == 0
    first = LOCK.read_bytes()
    document = make_plan(load_spec("small.yaml")).document
    Path("small.yaml").write_text(f"# as JSON\n{json.dumps(document)}", "utf-8")
    assert kinit("lock", "small.yaml", "-q", "-j", "4") == 0
    assert LOCK.read_bytes() == first
    reordered = {key: document[key] for key in reversed(document)}
    assert spec_digest(reordered) == spec_digest(document)
    assert spec_digest({**document, "seed": 8}) != spec_digest(document)


def test_nothing_is_measured_for_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> Any:
        raise AssertionError

    monkeypatch.setattr(NumpyEngine, "make_meter", fail)
    assert len(make_lock(make_plan(load_spec("small.yaml")), source="small.yaml").tensors) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lock", "-"], "give '-o'"),
        (["lock", "small.yaml", "-o", "small.yaml"], "got the spec itself"),
        (["lock", "small.yaml", "-o", "precious"], "precious exists and is no lock"),
        (["lock", "small.yaml", "-o", "."], ".: expected a file name, got a directory"),
        (["lock", "seedless.yaml"], "seedless.yaml: expected a seed, got none"),
        (["lock", "--check", "small.yaml"], "small.yaml.lock: expected the spec's lock, got no"),
        (["lock", "--check", "small.yaml", "-o", "precious"], "precious: expected a lock, got a"),
        (["generate", "-", "-o", "w.h5", "--locked"], "'--locked' needs a spec with a name"),
        (["generate", "small.yaml", "-o", "w.h5", "--locked"], "expected the spec's lock, got no"),
        (["generate", "seedless.yaml", "-o", "w.h5", "--locked"], "expected a seed, got none"),
    ],
)
def test_wrong_use_is_exit_2_and_changes_nothing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("precious").write_bytes(b"precious")
    Path("seedless.yaml").write_text(SMALL_SPEC.replace("seed: 7\n", ""), "utf-8")
    before = files()
    assert kinit(*arguments) == 2
    assert message in capsys.readouterr().err
    assert files() == before
    assert Path("precious").read_bytes() == b"precious"


def test_a_lock_with_marks_of_a_merge_is_written_anew() -> None:
    assert kinit("lock", "small.yaml", "-q") == 0
    good = LOCK.read_text("ascii")
    LOCK.write_text(good.replace('  "tensors"', '<<<<<<< ours\n  "tensors"'), "ascii")
    assert kinit("lock", "--check", "small.yaml", "-q") == 2
    assert kinit("lock", "small.yaml", "-q") == 0
    assert LOCK.read_text("ascii") == good


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "{" * 100_000,
        '{"kinit_lock": 2}',
        '{"kinit_lock": 1, "stream": true, "seed": 7, "spec_digest": "", "tensors": {}}',
        '{"kinit_lock": 1, "stream": 1, "seed": 7, "spec_digest": "", "tensors": {"a": {}}}',
        "\udcff",
    ],
)
def test_a_lock_that_is_none_is_an_error(text: str) -> None:
    LOCK.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(kinit_cli.KinitError, match="expected a lock"):
        read_lock(LOCK)
    assert kinit("generate", "small.yaml", "-o", "w.h5", "--locked") == 2
    assert files() == ["small.yaml", "small.yaml.lock"]


# --- checking ---------------------------------------------------------------------------------


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = kinit("lock", "--check", "small.yaml", "--json", *arguments)
    return code, json.loads(capsys.readouterr().out)


def test_check_tells_every_kind_of_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert kinit("lock", "small.yaml") == 0
    before = LOCK.read_bytes()
    code, document = check(capsys)
    assert (code, document["is_up_to_date"], document["changes"]) == (0, True, [])

    write_spec("kernel: {shape: [20, 10]}", "kernel: {shape: [20, 11]}")
    code, document = check(capsys)
    assert (code, document["is_up_to_date"], document["is_spec_changed"]) == (1, False, True)
    (change,) = document["changes"]
    assert (change["path"], change["change"]) == ("dense/kernel", "shape")
    assert (change["locked_shape"], change["shape"]) == ([20, 10], [20, 11])

    write_spec("bias: {shape: [10]}", "other: {shape: [10], dtype: float64}")
    write_spec("count: {shape: [], dtype: int64}", "counts: {shape: [], dtype: int64}")
    _, document = check(capsys)
    assert {one["path"]: one["change"] for one in document["changes"]} == {
        "rnn/counts": "added", "rnn/count": "removed",
    }  # fmt: skip
    write_spec("dtype: int64", "dtype: int32")
    _, document = check(capsys)
    assert [(one["path"], one["change"]) for one in document["changes"]] == [("rnn/count", "dtype")]
    write_spec("seed: 7", "seed: 8")
    _, document = check(capsys)
    assert {one["path"]: one["change"] for one in document["changes"]} == {
        "dense/kernel": "digest", "rnn/recurrent_kernel": "digest",
    }  # fmt: skip
    assert LOCK.read_bytes() == before


def test_check_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert kinit("lock", "small.yaml", "-q") == 0
    assert kinit("lock", "--check", "small.yaml") == 0
    assert capsys.readouterr().out == "small.yaml.lock: up to date, 4 tensors\n"
    write_spec("seed: 7", "seed: 7\nname: mine")
    assert kinit("lock", "--check", "small.yaml") == 1
    assert capsys.readouterr().out == (
        "small.yaml.lock: the spec has changed, though every tensor is as locked; lock it anew\n"
    )
    write_spec("count: {shape: [], ", "count: {shape: [2], ")
    assert kinit("lock", "--check", "small.yaml") == 1
    out = capsys.readouterr().out
    assert "rnn/count  expected shape [], got [2]\n" in out
    assert out.endswith("small.yaml.lock: 1 tensor is not as locked; the spec has changed\n")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("stream", 2, "the lock is of stream version 2, this is 1, though every tensor"),
        ("seed", 8, "the lock's seed is not the spec's, though every tensor is as locked"),
        ("dtype", "float16", "1 tensor is not as locked; the spec has not changed\n"),
    ],
)
def test_check_says_what_has_changed(
    capsys: pytest.CaptureFixture[str], key: str, value: object, said: str
) -> None:
    assert kinit("lock", "small.yaml", "-q") == 0
    document = json.loads(LOCK.read_text())
    (document if key in document else next(iter(document["tensors"].values())))[key] = value
    LOCK.write_text(json.dumps(document))
    assert kinit("lock", "--check", "small.yaml") == 1
    assert said in capsys.readouterr().out


def test_a_variant_of_a_spec_has_a_lock_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert kinit("lock", "small.yaml", "-o", "half.lock", "--dtype", "float16", "-q") == 0
    assert check(capsys, "-o", "half.lock", "--dtype", "float16")[0] == 0
    assert check(capsys, "-o", "half.lock")[0] == 1


# --- enforcing --------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["w.h5", "w/", "-"])
def test_locked_writes_what_is_locked(out: str, capfdbinary: Any) -> None:
    assert kinit("lock", "small.yaml", "-q") == 0
    extra = ["--format", "hdf5"] if out == "-" else []
    assert kinit("generate", "small.yaml", "-o", out, "--locked", "-q", *extra) == 0
    written = capfdbinary.readouterr().out
    assert kinit("generate", "small.yaml", "-o", "again.h5", "-q") == 0
    if out == "w.h5":
        assert Path(out).read_bytes() == Path("again.h5").read_bytes()
    if out == "-":
        assert written == Path("again.h5").read_bytes()


@pytest.mark.parametrize("out", ["w.h5", "w/", "-"])
def test_another_digest_leaves_nothing(out: str, capfdbinary: Any) -> None:
    assert kinit("lock", "small.yaml", "-q") == 0
    edit_lock(lambda raw: raw["tensors"]["rnn/recurrent_kernel"].update(digest="0" * 64))
    before = files()
    extra = ["--format", "hdf5"] if out == "-" else []
    assert kinit("generate", "small.yaml", "-o", out, "--locked", *extra) == 1
    captured = capfdbinary.readouterr()
    assert captured.out == b""
    digest = digest_of(kinit_cli.arrays("small.yaml")["rnn/recurrent_kernel"])
    assert captured.err.decode() == (
        "kinit: small.yaml.lock: 1 of 4 tensors is not as locked, nothing was written\n"
        f"rnn/recurrent_kernel: expected digest 000000000000, got {digest[:12]}\n"
    )
    assert files() == before


def test_values_that_are_not_kinits_own_are_not_locked(capsys: pytest.CaptureFixture[str]) -> None:
    assert kinit("lock", "small.yaml", "-q") == 0
    assert kinit("generate", "small.yaml", "-o", "w.h5", "--locked", "--engine", "keras") == 2
    assert "'--locked' is for kinit's own values, not for engine keras" in capsys.readouterr().err
    assert kinit("lock", "small.yaml", "--engine", "keras") == 2
    assert files() == ["small.yaml", "small.yaml.lock"]


def test_an_output_that_exists_stays_as_it_was() -> None:
    assert kinit("lock", "small.yaml", "-q") == 0
    edit_lock(lambda raw: raw["tensors"].pop("dense/bias"))
    Path("w.h5").write_bytes(b"precious")
    assert kinit("generate", "small.yaml", "-o", "w.h5", "--locked", "--force") == 1
    assert Path("w.h5").read_bytes() == b"precious"


@pytest.mark.parametrize("extra", [["--seed", "8"], ["--dtype", "float16"]])
@pytest.mark.parametrize("is_dry", [True, False])
def test_another_spec_is_refused_before_anything_is_generated(
    extra: list[str], is_dry: bool, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert kinit("lock", "small.yaml", "-q") == 0
    monkeypatch.setattr("kinit_cli.pipeline.generate", None)
    dry = ["--dry-run"] if is_dry else []
    assert kinit("generate", "small.yaml", "-o", "w.h5", "--locked", *extra, *dry) == 1
    assert "the spec is not the one that was locked" in capsys.readouterr().err
    edit_lock(lambda raw: raw.update(stream=2))
    assert kinit("generate", "small.yaml", "-o", "w.h5", "--locked", *dry) == 1
    assert "expected digests of stream version 1, got 2" in capsys.readouterr().err


def test_a_changed_bit_of_the_engine_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kinit("lock", "small.yaml", "-q") == 0
    fill = NumpyEngine.fill

    def flip(self: Any, out: Any, *arguments: Any, **options: Any) -> None:
        fill(self, out, *arguments, **options)
        if out.dtype == np.float32:
            out.view(np.uint32)[-1] ^= 1

    monkeypatch.setattr(NumpyEngine, "fill", flip)
    assert kinit("generate", "small.yaml", "-o", "w.h5", "--locked", "-q") == 1
    assert kinit("lock", "--check", "small.yaml", "-q") == 1
    assert files() == ["small.yaml", "small.yaml.lock"]


# --- pre-commit -------------------------------------------------------------------------------


def test_the_hook_for_pre_commit_is_a_command() -> None:
    from ruamel.yaml import YAML

    (hook,) = YAML(typ="safe", pure=True).load(HOOKS)
    assert (hook["id"], hook["language"], hook["pass_filenames"]) == ("kinit-lock", "python", False)
    name, *arguments = hook["entry"].split()
    assert name == "kinit"
    assert kinit("lock", "small.yaml", "-q") == 0
    assert kinit(*arguments, "small.yaml") == 0
    write_spec("seed: 7", "seed: 8")
    assert kinit(*arguments, "small.yaml") == 1
