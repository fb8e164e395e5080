"""docs/json.md says which keys the documents of `--json` have: those, and no others."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pytest
from json_page import (
    OBJECTS,
    PAGE,
    check_diff,
    check_document,
    check_lock,
    check_object,
    check_verification,
    documented,
    objects_at,
    type_of,
)

from kinit_cli.cli.main import JSON_SCHEMA_VERSION, run
from kinit_cli.compare.checks import CheckStatus, Method
from kinit_cli.compare.difference import DiffStatus
from kinit_cli.compare.locking import Change
from kinit_cli.initializers.registry import INITIALIZER_TYPES
from kinit_cli.origin import Origin

SPEC = """\
name: small
seed: 7
layers:
  - name: dense
    weights:
      kernel: {shape: [20, 10]}
      empty: {shape: [0]}
      flag: {shape: [], dtype: bool, initializer: ones}
"""
#: What advice is for; one variance exceeds float64.
ODD_SPEC = """\
layers:
  - name: odd
    weights:
      kernel: {shape: [3, 2], initializer: zeros}
      huge: {shape: [3, 2], initializer: {orthogonal: {gain: 1.0e+300}}, dtype: float64}
      other: {shape: [3, 2]}
"""
#: A tensor of everything that is tested, and one that has nothing.
TESTED_SPEC = """\
seed: 7
layers:
  - name: a
    weights:
      kernel: {shape: [50, 100]}
      matrix: {shape: [5, 10], initializer: orthogonal}
      tiny: {shape: [3], initializer: {random_normal: {mean: 1, stddev: 1.0e-12}}}
      empty: {shape: [0]}
"""
BAD_SPEC = "layers: [{name: gâte, weights: {kernel: {shape: [-1]}}}]\n"


class Runs:
    """Runs commands in a folder and gives the documents that they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
        (folder / "bad.yaml").write_text(BAD_SPEC, encoding="utf-8")
        (folder / "nothing.yaml").write_text("", encoding="utf-8")

    def __call__(self, *arguments: str, exit_code: int = 0) -> Any:
        assert run([*arguments, "--json"]) == exit_code
        printed = self._capsys.readouterr().out
        assert printed.isascii()
        return json.loads(printed)


@pytest.fixture
def runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Runs:
    monkeypatch.chdir(tmp_path)
    return Runs(capsys, tmp_path)


def write_foreign_file() -> None:
    """Write what kinit does not: no manifest, values that are not finite, text."""
    with h5py.File("foreign.h5", "w") as file:
        file["none/finite"] = np.array([np.nan, np.inf], np.float32)
        file["some/finite"] = np.array([1, 2, np.nan], np.float64)
        file["words"] = np.array([b"a", b"b"])
        file["größe"] = np.arange(5, dtype=np.int64)


def write_file_of_another_origin(folder: str) -> str:
    """Make a directory of kinit's one whose values are said to be Keras's."""
    manifest = json.loads(Path(folder, "kinit.json").read_text("utf-8"))
    origin = Origin(engine="keras", version="3.15.1", backend="jax", backend_version="0.10.2")
    manifest.update(stream=None, origin=origin.to_json())
    Path(folder, "kinit.json").write_text(json.dumps(manifest), "utf-8")
    return f"{folder}/"


def iter_documents(runs: Runs) -> Iterator[tuple[str, Any]]:
    """Print documents of every kind, with null wherever the page allows it."""
    write_foreign_file()
    yield "dry run", runs("generate", "spec.yaml", "--dry-run")
    yield "dry run", runs("generate", "spec.yaml", "--dry-run", "-o", "w.h5", "--quiet")
    Path("nameless.yaml").write_text(SPEC.partition("\n")[2], encoding="utf-8")
    yield "dry run", runs("generate", "nameless.yaml", "--dry-run")
    for out in ("w.h5", "w/"):
        yield "generate", runs("generate", "spec.yaml", "-o", out)
        yield "inspect", runs("inspect", out)
        yield "inspect", runs("inspect", "--check", out)
    yield "inspect", runs("inspect", "w/dense/kernel.npy")
    yield "inspect", runs("inspect", "foreign.h5")
    yield "inspect", runs("inspect", "foreign.h5", "--depth", "1")
    for tensor in ("some/finite", "größe"):
        yield "inspect", runs("inspect", "foreign.h5", tensor)
    yield "inspect", runs("inspect", "w.h5", "dense/kernel", "--plot", "w.html")
    yield "inspect", runs("inspect", write_file_of_another_origin("w"))


def test_documents_have_the_keys_of_the_page(runs: Runs) -> None:
    seen = set()
    for column, document in iter_documents(runs):
        seen.add(column)
        assert document["schema_version"] == JSON_SCHEMA_VERSION == 1
        check_document(document, column)
    assert seen == {"generate", "dry run", "inspect"}


def iter_reports(runs: Runs) -> Iterator[Any]:
    yield runs("check", "spec.yaml")
    yield runs("check", "bad.yaml", exit_code=1)
    yield runs("check", "spec.yaml", "-o", "w.npy", exit_code=1)
    Path("odd.yaml").write_text(ODD_SPEC, encoding="utf-8")
    yield runs("check", "odd.yaml", "--strict", exit_code=1)


def test_reports_have_the_keys_of_the_page(runs: Runs) -> None:
    keys = documented("What check prints")
    tables = {"advice": 1, "kernels": 2}
    nulls, filled = set(), set()
    for report in iter_reports(runs):
        check_object(report, keys)
        nulls |= {key for key, value in report.items() if value is None}
        for problem in report["problems"]:
            check_object(problem, documented("An error", table=2))
        for key, table in tables.items():
            for item in report[key]:
                check_object(item, documented("What check prints", table=table))
                nulls |= {(key, name) for name, value in item.items() if value is None}
        filled |= {key for key, value in report.items() if value}
    assert filled == set(keys)
    named = {key: documented("What check prints", table=table) for key, table in tables.items()}
    assert nulls == {
        *(key for key, types in keys.items() if "null" in types),
        *((key, name) for key, rows in named.items() for name in rows if "null" in rows[name]),
    }


def test_tests_are_null_where_the_page_says(runs: Runs) -> None:
    Path("tests.yaml").write_text(TESTED_SPEC, encoding="utf-8")
    document = runs("generate", "tests.yaml", "-o", "w.h5")
    with h5py.File("w.h5", "a") as file:
        file["a/tiny"][...] = 2
    checked = runs("inspect", "w.h5", "--check", exit_code=1)
    found = [*objects_at([document, checked], ["tensors", "test"])]
    keys = documented("A test", table=1)
    for key, types in keys.items():
        assert {type_of(test[key]) for test in found} - {"array of "} == types, key


def test_what_may_be_null_sometimes_is(runs: Runs) -> None:
    documents = [document for _, document in iter_documents(runs)]
    null_keys = {
        key
        for document in documents
        for path in ([], ["tensors"], ["tensors", "quantiles"], *OBJECTS.values())
        if len(path) < 2 or path[1] in document["tensors"][0]
        for item in objects_at(document, path)
        for key, value in item.items()
        if value is None
    }
    tables = ["What a command prints", "A tensor", "A quantile", *OBJECTS]
    assert null_keys == {
        key for heading in tables for key, types in documented(heading).items() if "null" in types
    }


def null_keys_of(objects: list[Any]) -> set[str]:
    return {key for item in objects for key, value in item.items() if value is None}


def nullable(heading: str) -> set[str]:
    return {key for key, types in documented(heading).items() if "null" in types}


def statuses_of(heading: str, key: str) -> set[str]:
    """Give what the page says a key can be."""
    section = re.split(rf"^##+ {re.escape(heading)}$", PAGE.read_text("utf-8"), flags=re.M)[1]
    (row,) = re.findall(rf"^\| `{key}` \| string \| (.*) \|$", section, re.M)[:1]
    return set(re.findall(r"`(\w+)`", row))


def test_verify_has_the_keys_of_the_page(runs: Runs) -> None:
    runs("generate", "spec.yaml", "-o", "w.h5")
    runs("generate", "spec.yaml", "-o", "w/")
    documents = [runs("verify", "w.h5"), runs("verify", "w/", "--quick")]
    with h5py.File("w.h5", "a") as file:
        file["dense/kernel"][3, 4] = 0.5
        del file["dense/flag"]
        file["more"] = np.zeros(3)
        file.attrs["kinit"] = file.attrs["kinit"].replace('"dtype":"bool"', '"dtype":"int8"')
    documents.append(runs("verify", "w.h5", exit_code=1))
    documents.append(runs("verify", "w.h5", "--quick", exit_code=1))
    documents.append(runs("verify", write_file_of_another_origin("w"), "--quick"))
    Path("seedless.yaml").write_text("layers: [{name: a, weights: {bias: {shape: [2]}}}]", "utf-8")
    write_foreign_file()
    documents.append(runs("verify", "foreign.h5", "--spec", "seedless.yaml", exit_code=1))
    for document in documents:
        assert document["command"] == "verify"
        check_verification(document)
    assert null_keys_of(documents) == nullable("What verify prints")
    tensors = [tensor for document in documents for tensor in document["tensors"]]
    assert null_keys_of(tensors) == nullable("A verified tensor")
    assert statuses_of("A verified tensor", "status") == set(get_args(CheckStatus))
    assert statuses_of("What verify prints", "method") == set(get_args(Method))


def test_diff_has_the_keys_of_the_page(runs: Runs) -> None:
    with h5py.File("a.h5", "w") as a, h5py.File("b.h5", "w") as b:
        for name, one, other in (
            ("same", np.zeros(3), np.zeros(3)),
            ("zero", np.zeros(3), -np.zeros(3)),
            ("close", np.ones(3), np.full(3, 1.001)),
            ("far", np.ones(3), np.full(3, 2.0)),
            ("shape", np.ones(3), np.ones(4)),
            ("text", "a", "a"),
        ):
            a[name], b[name] = one, other
        a["a"], b["b"] = 1.0, 2.0
    documents = [
        runs("diff", "a.h5", "b.h5", exit_code=1),
        runs("diff", "a.h5", "b.h5", "--rtol", "0.01", exit_code=1),
        runs("diff", "a.h5", "a.h5", "same"),
    ]
    for document in documents:
        assert document["command"] == "diff"
        check_diff(document)
    assert null_keys_of(documents) == nullable("What diff prints")
    tensors = [tensor for document in documents for tensor in document["tensors"]]
    assert null_keys_of(tensors) == nullable("A compared tensor")
    statuses = {tensor["status"] for tensor in tensors}
    assert statuses == statuses_of("A compared tensor", "status") == set(get_args(DiffStatus))


def test_lock_has_the_keys_of_the_page(runs: Runs) -> None:
    documents = [runs("lock", "spec.yaml"), runs("lock", "spec.yaml", "--check")]
    text = SPEC.replace("[20, 10]", "[20, 11]").replace("flag", "flags")
    Path("spec.yaml").write_text(text, encoding="utf-8")
    documents.append(runs("lock", "spec.yaml", "--check", exit_code=1))
    for document in documents:
        assert document["command"] == "lock"
        check_lock(document)
    assert null_keys_of(documents[2]["changes"]) == nullable("A changed tensor")
    assert statuses_of("A changed tensor", "change") == set(get_args(Change))


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("usage", ["generate", "spec.yaml"]),
        ("usage", ["generate", "spec.yaml", "-o", "-", "--format", "hdf5"]),
        ("spec", ["generate", "bad.yaml", "--dry-run"]),
        ("spec", ["generate", "nothing.yaml", "--dry-run"]),
        ("error", ["inspect", "absent.h5"]),
        ("lock", ["generate", "spec.yaml", "-o", "w.h5", "--locked"]),
        ("system", ["generate", "spec.yaml", "-o", "w.h5"]),
        ("memory", ["generate", "spec.yaml", "-o", "w.h5"]),
        ("internal", ["generate", "spec.yaml", "-o", "w.h5"]),
    ],
)
def test_errors_have_the_keys_of_the_page(
    kind: str, arguments: list[str], runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = {
        "system": OSError(28, os.strerror(28)),
        "memory": MemoryError(),
        "internal": KeyError(),
    }
    if kind in raised:
        monkeypatch.delenv("KINIT_DEBUG", raising=False)
        monkeypatch.setattr("kinit_cli.pipeline.generate", fail_with(raised[kind]))
    if kind == "lock":
        runs("lock", "spec.yaml")
        text = Path("spec.yaml.lock").read_text("utf-8").replace('"digest": "', '"digest": "f')
        Path("spec.yaml.lock").write_text(re.sub(r'.("\})', r"\1", text), "utf-8")
    document = runs(*arguments, exit_code=1 if kind == "lock" else 2)
    check_object(document, documented("An error"))
    check_object(document["error"], documented("An error", table=1))
    assert document["error"]["kind"] == kind
    assert bool(document["error"]["problems"]) == (kind == "spec")
    for problem in document["error"]["problems"]:
        check_object(problem, documented("An error", table=2))
    assert f"`{kind}`: " in PAGE.read_text("utf-8")


def fail_with(error: BaseException) -> Any:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    return fail


def test_the_kinds_of_errors_are_those_of_the_program() -> None:
    program = (PAGE.parents[1] / "kinit_cli" / "cli" / "main.py").read_text("utf-8")
    raised = set(re.findall(r'_failed\(argv, "(\w+)"', program))
    (row,) = re.findall(r"^\| `kind` \| string \| (.*) \|$", PAGE.read_text("utf-8"), re.M)
    assert set(re.findall(r"`(\w+)`: ", row)) == raised


def test_an_initializer_has_its_class_and_arguments(runs: Runs) -> None:
    arguments = {kind.class_name: [a.name for a in kind.arguments] for kind in INITIALIZER_TYPES}
    for tensor in runs("generate", "spec.yaml", "--dry-run")["tensors"]:
        config = tensor["initializer_config"]
        assert list(config["config"]) == arguments[config["class_name"]]


def test_a_key_too_many_or_too_few_is_noticed(runs: Runs) -> None:
    document = runs("generate", "spec.yaml", "-o", "w.h5")
    check_document(document, "generate")
    for change in (
        lambda d: d.pop("engine"),
        lambda d: d.update(extra=1),
        lambda d: d["tensors"][0].pop("recorded_digest"),
        lambda d: d["tensors"][0]["stats"].update(median=0.0),
        lambda d: d["tensors"][0]["stats"]["histogram"].update(edges=[1]),
        lambda d: d.update(n_bytes=None),
    ):
        changed = json.loads(json.dumps(document))
        change(changed)
        with pytest.raises(AssertionError):
            check_document(changed, "generate")
