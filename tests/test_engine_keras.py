"""`--engine keras` without Keras, and what is said of its files where Keras is not asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Kinit, kinit_environment
from spec_texts import one_weight, plan_of

import kinit_cli
from kinit_cli.explicit import explicit_plan
from kinit_cli.stream.identity import framework_seed

ROOT = str(Path(kinit_cli.__file__).parents[1])
SPEC = f"seed: 3\n{one_weight('shape: [2, 3], initializer: he_normal')}"


def stub_keras(folder: Path, text: str) -> str:
    """Give a search path on which `import keras` runs `text`."""
    (folder / "stubs").mkdir()
    (folder / "stubs" / "keras.py").write_text(text, encoding="utf-8")
    return os.pathsep.join([str(folder / "stubs"), ROOT])


@pytest.mark.parametrize(
    ("keras", "said"),
    [
        (
            "raise ModuleNotFoundError('No module named keras', name='keras')",
            "Keras is not installed; pip install 'kinit-cli[keras]', and tensorflow, jax or torch "
            "for its backend",
        ),
        (
            "import no_such_backend",
            "Keras cannot be imported (ModuleNotFoundError: No module named 'no_such_backend'); "
            "install what is missing, or choose another backend with KERAS_BACKEND=tensorflow, "
            "jax or torch",
        ),
        (
            "raise ValueError('Unable to import\\nbackend : x')",
            "Keras cannot be imported (ValueError: Unable to import backend : x); install what is "
            "missing, or choose another backend with KERAS_BACKEND=tensorflow, jax or torch",
        ),
        (
            "__version__ = '3.7.0.dev1'",
            "expected Keras 3.8 or newer, got 3.7.0.dev1; pip install 'kinit-cli[keras]', and "
            "tensorflow, jax or torch for its backend",
        ),
    ],
)
@pytest.mark.parametrize("options", [("-o", "a.h5"), ("--dry-run",)])
def test_without_a_keras_that_works(
    keras: str, said: str, options: tuple[str, ...], kinit: Kinit, tmp_path: Path
) -> None:
    path = stub_keras(tmp_path, f"import os\nos.write(2, b'noise')\nprint('noise')\n{keras}\n")
    (tmp_path / "a.yaml").write_text(SPEC, encoding="utf-8")
    done = kinit("generate", "a.yaml", "--engine", "keras", *options, PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"kinit: engine keras: {said}\n"
    assert {file.name for file in tmp_path.iterdir()} == {"a.yaml", "stubs"}


def test_an_existing_target_is_told_before_keras_is_loaded(kinit: Kinit, tmp_path: Path) -> None:
    path = stub_keras(tmp_path, "raise SystemExit('keras was imported')")
    (tmp_path / "a.yaml").write_text(SPEC, encoding="utf-8")
    (tmp_path / "a.h5").write_bytes(b"mine")
    for more in ((), ("--dry-run",)):
        arguments = ("generate", "a.yaml", "--engine", "keras", "-o", "a.h5", *more)
        done = kinit(*arguments, PYTHONPATH=path)
        assert done.returncode == 2
        assert "a.h5" in done.stderr.decode()
        assert "imported" not in done.stderr.decode()


def test_inspect_needs_no_keras(kinit: Kinit, tmp_path: Path) -> None:
    path = stub_keras(tmp_path, "raise SystemExit('keras was imported')")
    (tmp_path / "a.yaml").write_text(SPEC, encoding="utf-8")
    assert kinit("generate", "a.yaml", "-o", "w/").returncode == 0
    manifest = json.loads((tmp_path / "w" / "kinit.json").read_text("utf-8"))
    seed = framework_seed(plan_of(SPEC).tensors[0].stream_key)
    for origin, shown in ((False, "he_normal"), (True, f"he_normal(seed={seed})")):
        if origin:
            names = ("engine", "version", "backend", "backend_version")
            manifest |= {"stream": None, "origin": dict.fromkeys(names, "x")}
            (tmp_path / "w" / "kinit.json").write_text(json.dumps(manifest), "utf-8")
        done = kinit("inspect", "w/", "--json", PYTHONPATH=path)
        (tensor,) = json.loads(done.stdout)["tensors"]
        assert tensor["initializer"] == shown
        assert tensor["expected_std"] == pytest.approx(1.0)


# --- explicit plans -----------------------------------------------------------------------------


def test_seeds_are_written_out() -> None:
    plan = explicit_plan(plan_of(SPEC))
    # From hashlib: sha256(b"kinit/1/name\0" b"3\0" b"a/kernel"), modulo 2^31 - 2.
    assert plan.tensors[0].initializer.seed == 598577084
    assert explicit_plan(plan) == plan


@pytest.mark.parametrize(
    ("initializer", "args"),
    [
        ("zeros", {}),
        ("{constant: {value: 3}}", {"value": 3}),
        ("{orthogonal: {seed: 0}}", {"gain": 1.0, "seed": 0}),
        ("{he_normal: {seed: 5}}", {"seed": 5, "input_axes": None, "output_axes": None}),
    ],
)
def test_what_is_explicit_stays(initializer: str, args: dict[str, object]) -> None:
    text = one_weight(f"shape: [2, 3], initializer: {initializer}")
    before, after = plan_of(f"seed: 3\n{text}"), explicit_plan(plan_of(f"seed: 3\n{text}"))
    assert after == before
    assert after.tensors[0].initializer.args == args


@pytest.mark.parametrize(
    ("shape", "axes", "written"),
    [
        ("[4, 6]", "", ((1,), (0,))),
        ("[4, 6, 3, 5]", "", ((1, 2, 3), (0, 2, 3))),
        ("[4, 6]", ", input_axes: [0]", ((1,), (0,))),
        ("[4, 6, 2]", ", input_axes: [0], output_axes: [2]", ((0,), (2,))),
        ("[4]", "", (None, None)),
        ("[]", "", (None, None)),
    ],
)
def test_axes_are_written_out_for_the_layout_of_torch(
    shape: str, axes: str, written: tuple[object, object]
) -> None:
    weight = one_weight(f"shape: {shape}, initializer: {{he_normal: {{seed: 1{axes}}}}}")
    (before,) = plan_of(f"layout: torch\n{weight}").tensors
    (after,) = explicit_plan(plan_of(f"layout: torch\n{weight}")).tensors
    args = after.initializer.args
    assert (args["input_axes"], args["output_axes"]) == written
    # They mean the same to kinit itself.
    (again,) = plan_of(
        json.dumps(
            {
                "layers": [
                    {
                        "name": "a",
                        "weights": {
                            "kernel": {
                                "shape": list(before.shape),
                                "initializer": json.loads(json.dumps(after.initializer.config())),
                            }
                        },
                    }
                ]
            }
        )
    ).tensors
    assert again.draw == before.draw


@pytest.mark.parametrize("closed", ["", " >&-", " 2>&-", " >&- 2>&-"])
def test_an_import_is_quiet_and_leaves_streams_as_they_were(closed: str, tmp_path: Path) -> None:
    noise = "import os, sys, warnings\nprint('one')\nwarnings.warn('two')\n"
    compiled = "for fd in (1, 2):\n    try: os.write(fd, b'three')\n    except OSError: pass\n"
    (tmp_path / "noisy_module.py").write_text(noise + compiled, encoding="utf-8")
    program = (
        "from kinit_cli.engines.quiet import quiet; import sys; print('before'); "
        "shut = quiet(is_alone=True); shut.__enter__(); import noisy_module; "
        "shut.__exit__(None, None, None); "
        "print('after'); sys.stderr and sys.stderr.write('end')"
    )
    done = subprocess.run(
        ["sh", "-c", f"'{sys.executable}' -c \"{program}\"{closed}"],
        env=kinit_environment(PYTHONPATH=os.pathsep.join([str(tmp_path), ROOT])),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("" if " >&-" in closed else "before\nafter\n")
    assert done.stderr == ("" if "2>&-" in closed else "end")


def test_the_initializer_without_keras(tmp_path: Path) -> None:
    path = stub_keras(tmp_path, "raise ModuleNotFoundError('No module', name='keras')")
    done = subprocess.run(
        [sys.executable, "-c", "import kinit_cli.integrations.keras"],
        env=kinit_environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == (
        "ImportError: kinit_cli.integrations.keras needs Keras, which is not installed; "
        "pip install 'kinit-cli[keras]', and tensorflow, jax or torch for its backend"
    )
