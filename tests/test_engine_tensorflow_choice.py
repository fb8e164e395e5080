"""When the TensorFlow engine is taken, what is loaded for it, and what the user sees."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Kinit, kinit_environment
from every_engine import needs_tensorflow
from spec_texts import plan_of

import kinit_cli
from kinit_cli.engines import get_engine, gpu_driver, registry
from kinit_cli.engines.registry import SECONDS_TO_LOAD_TENSORFLOW
from kinit_cli.engines.saving import seconds_saved_on_gpu
from kinit_cli.engines.tensorflow_devices import Device, choose_devices, is_device_name
from kinit_cli.errors import UnavailableError

MUCH = SECONDS_TO_LOAD_TENSORFLOW * 1.01
#: Over the least number of elements, in every dtype that is drawn.
LONG = """\
seed: 3
layers:
  - name: a
    weights:
      normal: {shape: [300, 200], initializer: he_normal}
      uniform: {shape: [40000], initializer: random_uniform, dtype: float64}
      normal16: {shape: [40000], initializer: random_normal, dtype: bfloat16}
      zeros: {shape: [7], initializer: zeros}
      matrix: {shape: [5, 9], initializer: orthogonal}
"""
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}


def fake_tensorflow(n_gpus: int) -> Any:
    return SimpleNamespace(
        config=SimpleNamespace(list_logical_devices=lambda kind: ["a GPU"] * n_gpus)
    )


# --- devices ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_gpus", "asked", "labels"),
    [
        (0, None, ["cpu"]),
        (0, "cpu", ["cpu"]),
        (2, None, ["gpu:0", "gpu:1"]),
        (2, "gpu", ["gpu:0", "gpu:1"]),
        (2, "gpu:1", ["gpu:1"]),
        (2, "cpu", ["cpu"]),
    ],
)
def test_the_devices_of_a_name(n_gpus: int, asked: str | None, labels: list[str]) -> None:
    devices = choose_devices(fake_tensorflow(n_gpus), asked)
    assert [device.label for device in devices] == labels


@pytest.mark.parametrize(
    ("n_gpus", "asked", "known"),
    [(0, "gpu", "cpu"), (1, "gpu:1", "cpu, gpu:0"), (2, "tpu", "cpu, gpu:0, gpu:1")],
)
def test_an_absent_device_is_told_with_those_there_are(n_gpus: int, asked: str, known: str) -> None:
    with pytest.raises(UnavailableError, match=f"device {asked}: expected .* which are {known};"):
        choose_devices(fake_tensorflow(n_gpus), asked)


def test_names_of_devices() -> None:
    assert [Device(label=label).tensorflow_name for label in ("cpu", "gpu:3")] == [
        "/CPU:0",
        "/GPU:3",
    ]
    assert all(map(is_device_name, ("cpu", "gpu", "gpu:0", "gpu:12")))
    assert not any(map(is_device_name, ("", "GPU", "gpu:", "gpu:x", "gpu:-1", "cpu:0", "gpu:0 ")))


@pytest.mark.parametrize(
    ("files", "variables", "expected"),
    [
        ([], {}, False),
        (["nvidiactl", "nvidia-uvm"], {}, False),
        (["nvidia0"], {}, True),
        (["nvidia12"], {"CUDA_VISIBLE_DEVICES": "12"}, True),
        (["nvidia0"], {"CUDA_VISIBLE_DEVICES": ""}, False),
        (["nvidia0"], {"CUDA_VISIBLE_DEVICES": "-1"}, False),
        (["nvidia0"], {"CUDA_VISIBLE_DEVICES": "-1,0"}, False),
        (["nvidia0"], {"HIP_VISIBLE_DEVICES": "-1"}, True),
        (["dxg"], {}, True),
        (["kfd"], {}, True),
        (["kfd"], {"CUDA_VISIBLE_DEVICES": "-1"}, True),
        (["kfd"], {"HIP_VISIBLE_DEVICES": ""}, False),
        (["kfd"], {"ROCR_VISIBLE_DEVICES": "-1"}, False),
    ],
)
def test_a_driver_is_seen_by_its_files(
    files: list[str],
    variables: dict[str, str],
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(gpu_driver, "_DEVICES", tmp_path)
    assert gpu_driver.has_gpu_driver() is expected


# --- auto ---------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let this machine seem to have a GPU and TensorFlow; note what is asked of them, in order."""
    calls: list[str] = []
    find_spec = importlib.util.find_spec

    def probe() -> bool:
        calls.append("driver")
        return True

    def find(name: str) -> object:
        if name != "tensorflow":
            return find_spec(name)
        calls.append("find")
        return object()

    def load(device: str | None, *rest: object) -> object:
        calls.append(f"load {device}")
        return SimpleNamespace(name="tensorflow")

    monkeypatch.setattr(registry, "has_gpu_driver", probe)
    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.setattr(registry, "_tensorflow", load)
    return calls


def test_auto_takes_a_gpu_for_work_that_is_long(asked: list[str]) -> None:
    assert get_engine("auto", seconds_saved_on_gpu=MUCH).name == "tensorflow"
    assert asked == ["driver", "find", "load gpu"]


def test_auto_asks_for_nothing_if_the_work_is_short(asked: list[str]) -> None:
    little = SECONDS_TO_LOAD_TENSORFLOW * 0.99
    assert get_engine("auto", seconds_saved_on_gpu=little).name == "numpy"
    assert asked == []


def test_auto_without_a_driver_or_tensorflow(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert get_engine("auto", seconds_saved_on_gpu=MUCH).name == "numpy"
    assert asked == ["driver"]
    monkeypatch.setattr(registry, "has_gpu_driver", lambda: False)
    assert get_engine("auto", seconds_saved_on_gpu=MUCH).name == "numpy"
    assert asked == ["driver"]


def test_a_device_decides_for_auto(asked: list[str]) -> None:
    assert get_engine("auto", device="gpu:1").name == "tensorflow"
    assert get_engine("auto", device="gpu").name == "tensorflow"
    assert asked == ["load gpu:1", "load gpu"]
    assert get_engine("auto", device="cpu", seconds_saved_on_gpu=MUCH).name == "numpy"
    assert len(asked) == 2


@pytest.mark.parametrize("fault", ["no GPU", "broken"])
def test_auto_falls_back_with_one_note(
    fault: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(registry, "has_gpu_driver", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())

    def load(*, is_alone: bool) -> object:
        if fault == "broken":
            raise ImportError("libcuda is of another version")
        return fake_tensorflow(0)

    monkeypatch.setattr(registry, "load_tensorflow", load)
    notes: list[str] = []
    engine = get_engine("auto", seconds_saved_on_gpu=MUCH, on_fault=notes.append)
    assert engine.name == "numpy"
    (note,) = notes
    assert note.startswith("no GPU is used (")
    assert ("libcuda is of another version" if fault == "broken" else "are cpu") in note
    assert note.endswith("); the CPU does it, with the same values but slower")


def test_what_a_gpu_saves() -> None:
    text = "seed: 1\nlayers: [{name: a, weights: {k: {shape: [100000, 200000], initializer: %s}}}]"
    normal = plan_of(text % "he_normal")
    assert seconds_saved_on_gpu(normal, 1) > SECONDS_TO_LOAD_TENSORFLOW
    # The bus is no quicker for more threads; drawing on them is.
    assert seconds_saved_on_gpu(normal, 16) < 0
    assert seconds_saved_on_gpu(plan_of(text % "zeros"), 1) == 0
    assert seconds_saved_on_gpu(plan_of(text % "orthogonal"), 1) == 0


def test_nothing_imports_tensorflow_without_a_driver() -> None:
    code = (
        "import sys; from kinit_cli.engines import get_engine;"
        "get_engine('auto', seconds_saved=1e6, seconds_saved_on_gpu=1e6);"
        "sys.exit('tensorflow' in sys.modules)"
    )
    environment = kinit_environment(**NO_GPU)
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0
    )


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture
def without_tensorflow(tmp_path: Path) -> str:
    """Give a search path on which TensorFlow cannot be imported."""
    (tmp_path / "stubs" / "tensorflow").mkdir(parents=True)
    stub = tmp_path / "stubs" / "tensorflow" / "__init__.py"
    stub.write_text("raise ImportError('it is not here')", encoding="utf-8")
    return os.pathsep.join([str(tmp_path / "stubs"), str(Path(kinit_cli.__file__).parents[1])])


@pytest.mark.parametrize("options", [("--engine=tensorflow",), ("--device=gpu",)])
def test_without_tensorflow_the_user_is_told_how_to_install_it(
    options: tuple[str, ...], kinit: Kinit, tmp_path: Path, without_tensorflow: str
) -> None:
    (tmp_path / "a.yaml").write_text(LONG, encoding="utf-8")
    done = kinit("generate", "a.yaml", "-o", "a.h5", *options, PYTHONPATH=without_tensorflow)
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line == (
        "kinit: engine tensorflow: expected TensorFlow to be installed and to work, got "
        "ImportError: it is not here; pip install 'kinit-cli[tensorflow]'"
    )
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine=numba", "--device=gpu"), b"for engine tensorflow or auto, not numba"),
        (("--engine=numpy", "--device=cpu"), b"for engine tensorflow or auto, not numpy"),
        (("--device=tpu",), b"expected cpu, gpu or gpu:N, got 'tpu'"),
    ],
)
def test_a_device_that_makes_no_sense(
    options: tuple[str, ...], message: bytes, kinit: Kinit, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(LONG, encoding="utf-8")
    done = kinit("generate", "a.yaml", "-o", "a.h5", *options)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr


@pytest.mark.tensorflow
@needs_tensorflow
def test_a_file_by_tensorflow_is_the_same_and_nothing_is_said(kinit: Kinit, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(LONG, encoding="utf-8")
    # What TensorFlow's parts say of each other in warnings is not kinit's.
    quiet = {**NO_GPU, "PYTHONWARNINGS": "ignore"}
    arguments = ("generate", "a.yaml", "-o", "a.h5", "--engine=tensorflow")
    done = kinit(*arguments, "--quiet", **quiet)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    done = kinit(*arguments, "--force", "--json", **quiet)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["engine"] == "tensorflow"
    assert kinit("generate", "a.yaml", "-o", "b.h5", "--engine=numpy", "-q").returncode == 0
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.tensorflow
@needs_tensorflow
def test_an_absent_gpu_ends_the_run_before_a_file_is_begun(kinit: Kinit, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(LONG, encoding="utf-8")
    quiet = {**NO_GPU, "PYTHONWARNINGS": "ignore"}
    done = kinit("generate", "a.yaml", "-o", "a.h5", "--device=gpu:0", **quiet)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"device gpu:0: expected one that TensorFlow sees here, which are cpu;" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml"]
