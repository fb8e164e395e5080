"""Where the code of custom initializers comes from: what the user allowed or installed, only."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from conftest import Kinit
from custom_specs import spec_of, written

from kinit_cli.errors import KinitError, SpecError
from kinit_cli.initializers.custom import CustomInitializers
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec

MODULE = """\
import sys
import numpy as np

print("imported")
sys.stdout.write("once\\n")


def spiral(shape, dtype=None, turns=1):
    print("called")
    return np.full(shape, turns, dtype)


class Nest:
    class Inner:
        def __call__(self, shape, dtype=None):
            print("called")
            return np.full(shape, 5, dtype)


def broken(shape, dtype=None):
    return np.full(shape, np.nan, dtype)


def leaving(shape, dtype=None):
    sys.exit(0)


number = 5
"""
SPEC = spec_of({"k": "spiral"})


@pytest.fixture
def module(tmp_path: Path) -> str:
    """Write a module into the folder in which kinit runs; give a name that no other test uses."""
    (tmp_path / "my_inits.py").write_text(MODULE)
    (tmp_path / "spec.json").write_text(SPEC)
    return "my_inits"


def install(folder: Path, points: Mapping[str, str], name: str = "mine") -> str:
    """Install a package as an installer would, into a folder of its own; give the folder."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(MODULE)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{point} = {value}\n" for point, value in points.items())
    (info / "entry_points.txt").write_text(f"[kinit.initializers]\n{lines}")
    return str(folder)


def python_path(*folders: str) -> str:
    return os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])


def run(kinit: Kinit, *arguments: str, **environment: str) -> tuple[int, str, str]:
    # So that the current folder is not searched anyway, as with the installed command.
    done = kinit("generate", *arguments, PYTHONSAFEPATH="1", **environment)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


# --- allowed code -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "initializer", "value"),
    [
        ("my_inits:spiral", "spiral", 1),
        ("my_inits:spiral", {"spiral": {"turns": 3}}, 3),
        ("my_inits:spiral", "my_inits:spiral", 1),
        ("my_inits:spiral", {"my_inits:spiral": {"turns": 3}}, 3),
        ("my_inits:Nest.Inner", "Inner", 5),
        ("my_inits:Nest.Inner", "my_inits:Nest.Inner", 5),
    ],
)
def test_a_module_in_the_current_folder(
    kinit: Kinit, module: str, tmp_path: Path, allowed: str, initializer: object, value: float
) -> None:
    (tmp_path / "spec.json").write_text(spec_of({"k": initializer}))
    code, stdout, stderr = run(kinit, "spec.json", "-o", "w.npy", "-q", "--allow-code", allowed)
    assert (code, stdout) == (0, "")
    assert stderr.splitlines() == ["imported", "once", "called"]
    np.testing.assert_array_equal(np.load(tmp_path / "w.npy"), np.full((4, 3), value, "f4"))


def test_what_code_prints_does_not_come_between_the_result(
    kinit: Kinit, module: str, tmp_path: Path
) -> None:
    allow = ("--allow-code", "my_inits:spiral")
    code, stdout, stderr = run(kinit, "spec.json", "-o", "w.npy", "--json", *allow)
    assert (code, json.loads(stdout)["n_tensors"]) == (0, 1)
    assert "called" in stderr.splitlines()
    code, stdout, _ = run(kinit, "spec.json", "--dry-run", "--json", *allow)
    assert json.loads(stdout)["tensors"][0]["initializer_config"] == {
        "class_name": "spiral",
        "config": {"turns": 1},
    }
    done = kinit("generate", "spec.json", "-o", "-", "--format", "npy", *allow)
    assert done.stdout == (tmp_path / "w.npy").read_bytes()


@pytest.mark.parametrize("name", ["spiral", "my_inits:spiral", "os:system", "os.system"])
@pytest.mark.parametrize("write", ["{}", '{{"{}": {{}}}}', '{{"class_name": "{}"}}'])
def test_a_spec_alone_imports_nothing(
    kinit: Kinit, module: str, tmp_path: Path, name: str, write: str
) -> None:
    text = write.format(name)
    initializer = json.loads(text) if text.startswith("{") else text
    (tmp_path / "spec.json").write_text(spec_of({"k": initializer}))
    code, stdout, stderr = run(kinit, "spec.json", "-o", "w.npy")
    assert (code, stdout) == (2, "")
    assert "imported" not in stderr
    reference = name if ":" in name else f"MODULE:{name}"
    reference = "MODULE:NAME" if name == "os.system" else reference
    assert f"expected a known initializer, got '{name}'; " in stderr
    assert f"or code of your own: --allow-code {reference}\n" in stderr
    assert not (tmp_path / "w.npy").exists()


def test_what_is_allowed_is_all_that_is(kinit: Kinit, module: str, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(spec_of({"k": "spiral", "m": "broken", "n": "spirall"}))
    code, _, stderr = run(
        kinit, "spec.json", "-o", "w/", "--allow-code", "my_inits:spiral",
        "--allow-code", "my_inits:spiral",
    )  # fmt: skip
    assert code == 2
    assert "expected a known initializer, got 'broken'; known: constant, " in stderr
    assert "got 'spirall'; did you mean 'spiral'? For code" in stderr
    assert stderr.endswith("kinit: 2 problems in the spec\n")


def test_inspecting_imports_nothing(kinit: Kinit, module: str, tmp_path: Path) -> None:
    allow = ("--allow-code", "my_inits:spiral")
    assert run(kinit, "spec.json", "-o", "w.h5", "-q", *allow)[0] == 0
    mine = tmp_path / "my_inits.py"
    mine.write_text("raise SystemExit('imported')")
    done = kinit("inspect", "w.h5", "--json")
    assert done.returncode == 0
    (tensor,) = json.loads(done.stdout)["tensors"]
    assert tensor["initializer"] == "spiral"
    assert tensor["recorded_digest"] is not None
    assert tensor["expected_mean"] is None


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        (
            ["absent:f"],
            "absent:f: expected a module that can be imported, got ModuleNotFoundError: No module "
            "named 'absent'; it is looked for among what is installed and in the current folder",
        ),
        (
            ["my_inits.deep:f"],
            "my_inits.deep:f: expected a module that can be imported, got ModuleNotFoundError: "
            "No module named 'my_inits.deep'; 'my_inits' is not a package; it is looked for among "
            "what is installed and in the current folder",
        ),
        (
            ["needing:f"],
            "needing:f: expected a module that can be imported, got ModuleNotFoundError: "
            "No module named 'absent'; KINIT_DEBUG=1 shows where",
        ),
        (
            ["faulty:f"],
            "faulty:f: expected a module that can be imported, got ZeroDivisionError: division by "
            "zero; KINIT_DEBUG=1 shows where",
        ),
        (
            ["leaving:f"],
            "leaving:f: expected a module that can be imported, got SystemExit: 0; "
            "KINIT_DEBUG=1 shows where",
        ),
        (
            ["my_inits:spirall"],
            "my_inits:spirall: expected a name in my_inits, got 'spirall'; did you mean 'spiral'?",
        ),
        (
            ["my_inits:Nest.Outer"],
            "my_inits:Nest.Outer: expected a name in Nest, got 'Outer'",
        ),
        (
            ["my_inits:number"],
            "my_inits:number: expected a function, or a class or object with "
            "__call__(shape, dtype), got int",
        ),
        (
            ["my_inits:Nest"],
            "my_inits:Nest: expected a function, or a class or object with "
            "__call__(shape, dtype), got the class Nest",
        ),
        (
            ["builtin:zeros"],
            "builtin:zeros: expected a name of its own, got 'zeros', which is one of kinit's "
            "initializers; rename it",
        ),
        (
            ["my_inits:spiral", "builtin:spiral"],
            "builtin:spiral: expected a name that is used once, got 'spiral' again, as in "
            "my_inits:spiral; rename one of them",
        ),
    ],
)
def test_code_that_cannot_be_allowed(
    kinit: Kinit, module: str, tmp_path: Path, allowed: list[str], message: str
) -> None:
    (tmp_path / "builtin.py").write_text("from my_inits import spiral\nzeros = spiral\n")
    (tmp_path / "needing.py").write_text("import absent\n")
    (tmp_path / "faulty.py").write_text("1 / 0\n")
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(0)\n")
    options = [word for text in allowed for word in ("--allow-code", text)]
    before = sorted(tmp_path.iterdir())
    code, stdout, stderr = run(kinit, "spec.json", "-o", "w.npy", *options)
    assert (code, stdout) == (2, "")
    assert stderr.splitlines()[-1] == f"kinit: --allow-code {message}"
    assert "Traceback" not in stderr
    assert {path for path in tmp_path.iterdir() if path.name != "__pycache__"} == set(before)


def test_a_traceback_is_shown_if_asked_for(kinit: Kinit, module: str, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text("1 / 0\n")
    code, _, stderr = run(
        kinit, "spec.json", "-o", "w.npy", "--allow-code", "faulty:f", KINIT_DEBUG="1"
    )
    assert code == 2
    assert 'faulty.py", line 1' in stderr


@pytest.mark.parametrize(
    "text", ["spiral", ":spiral", "my_inits:", "my-inits:f", "a:b:c", "a..b:c", "a:b()", "a:class"]
)
def test_what_is_no_module_and_name(kinit: Kinit, module: str, text: str) -> None:
    code, _, stderr = run(kinit, "spec.json", "-o", "w.npy", "--allow-code", text)
    assert code == 2
    expected = f"expected MODULE:NAME, as in my_inits:spiral, got {text!r}"
    assert f"Invalid value for '--allow-code': {expected}" in " ".join(stderr.split())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "finite values, got 12 that are not, the first nan at [0, 0]"),
        ("leaving", "values, got SystemExit: 0; KINIT_DEBUG=1 shows where"),
    ],
)
def test_a_failure_names_the_tensor_and_leaves_nothing(
    kinit: Kinit, module: str, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "spec.json").write_text(spec_of({"a": "ones", "k": name}))
    code, stdout, stderr = run(kinit, "spec.json", "-o", "w/", "--allow-code", f"my_inits:{name}")
    assert (code, stdout) == (2, "")
    last = stderr.splitlines()[-1]
    assert last == f"kinit: a/k: initializer {name!r}: expected {message}"
    names = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert names == {"my_inits.py", "spec.json"}


def test_the_library_refuses_what_is_no_reference() -> None:
    with pytest.raises(KinitError, match="--allow-code: expected MODULE:NAME"):
        CustomInitializers(allowed=["spiral"])


# --- installed packages -------------------------------------------------------------------------


def test_an_installed_package_needs_no_leave(kinit: Kinit, tmp_path: Path) -> None:
    folder = install(tmp_path / "site", {"spiral": "mine:spiral", "inner": "mine:Nest.Inner"})
    (tmp_path / "spec.json").write_text(spec_of({"k": {"spiral": {"turns": 2}}, "m": "inner"}))
    code, stdout, stderr = run(kinit, "spec.json", "-o", "w/", "-q", PYTHONPATH=python_path(folder))
    assert (code, stdout, stderr.split()) == (0, "", ["imported", "once", "called", "called"])
    for name, value in (("k", 2), ("m", 5)):
        values = np.load(tmp_path / "w" / "a" / f"{name}.npy")
        np.testing.assert_array_equal(values, np.full((4, 3), value, "f4"))


@pytest.mark.parametrize("name", ["ones", "he_norml"])
def test_it_is_not_loaded_unless_a_spec_names_it(kinit: Kinit, tmp_path: Path, name: str) -> None:
    """Nor can it take the place of one of kinit's own."""
    folder = install(tmp_path / "site", {"spiral": "mine:spiral", "ones": "mine:spiral"})
    (tmp_path / "spec.json").write_text(spec_of({"k": name}))
    code, _, stderr = run(kinit, "spec.json", "-o", "w.npy", PYTHONPATH=python_path(folder))
    assert "imported" not in stderr
    assert code == (0 if name == "ones" else 2)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    yield tmp_path / "site"  # type: ignore[misc]
    sys.modules.pop("mine", None)


def problem_of(name: str) -> str:
    with pytest.raises(SpecError) as caught:
        make_plan(parse_spec(spec_of({"k": {name: {}}}).encode(), "spec.json"))
    (problem,) = caught.value.problems
    return str(problem).partition(f"initializer.{name}: ")[2]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "absent:f",
            "expected an initializer that can be loaded (kinit.initializers: absent:f), got "
            "ModuleNotFoundError: No module named 'absent'; KINIT_DEBUG=1 shows where",
        ),
        (
            "mine:absent",
            "expected an initializer that can be loaded (kinit.initializers: mine:absent), got "
            "AttributeError: module 'mine' has no attribute 'absent'; KINIT_DEBUG=1 shows where",
        ),
        (
            "mine:number",
            "expected a function, or a class or object with __call__(shape, dtype), got int",
        ),
    ],
)
def test_a_broken_package_is_a_problem_of_the_spec(
    installed: Path, value: str, message: str
) -> None:
    install(installed, {"spiral": value})
    assert problem_of("spiral") == message


def test_a_name_in_two_packages_is_no_ones(installed: Path) -> None:
    install(installed, {"spiral": "mine:spiral"})
    install(installed, {"spiral": "mine:spiral"}, name="same")
    plan = make_plan(parse_spec(SPEC.encode(), "spec.json"))
    assert str(plan.tensors[0].initializer) == "spiral"
    install(installed, {"spiral": "mine:broken"}, name="other")
    message = problem_of("spiral")
    assert message.startswith("expected an initializer that one installed package provides, got ")
    assert "mine:broken and mine:spiral; name one with --allow-code mine:" in message


def test_an_allowed_name_comes_before_an_installed_one(installed: Path) -> None:
    install(installed, {"spiral": "mine:broken"})
    customs = CustomInitializers(allowed=["mine:spiral"])
    plan = make_plan(parse_spec(SPEC.encode(), "spec.json"), customs=customs)
    assert plan.tensors[0].initializer_config()["config"] == {"turns": 1}


def test_installed_names_are_suggested(installed: Path) -> None:
    install(installed, {"spiral": "mine:spiral"})
    assert "did you mean 'spiral'?" in problem_of("spirall")
    assert "zeros; for code" in problem_of("xyzzy")
    assert ", spiral, " in problem_of("xyzzy")


def test_a_default_may_be_one(installed: Path) -> None:
    install(installed, {"spiral": "mine:spiral"})
    text = spec_of({"k": {"shape": [2]}, "m": written("ones")}, defaults={"k": "spiral"})
    plan = make_plan(parse_spec(text.encode(), "spec.json"))
    assert [str(tensor.initializer) for tensor in plan.tensors] == ["spiral", "ones"]
