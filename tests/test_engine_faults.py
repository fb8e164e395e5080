"""What happens where Numba is missing or broken, and when it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import Kinit, kinit_environment
from every_engine import ALL_KERNELS, ONE_KERNEL, needs_numba, stub_numba
from spec_texts import plan_of

import kinit_cli
from kinit_cli import interrupts
from kinit_cli.cli.main import run
from kinit_cli.draw import Normal, Orthogonal, Uniform
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines.numpy import NumpyEngine
from kinit_cli.formats.registry import choose_writer
from kinit_cli.pipeline import Output, generate
from kinit_cli.stream.identity import named_stream_key

KEY = named_stream_key(1, "a/kernel")


@pytest.mark.parametrize(
    ("stub", "reason"),
    [
        ("raise ImportError('no llvmlite here')", "ImportError: no llvmlite here"),
        ("raise OSError('libz.so is missing')", "OSError: libz.so is missing"),
        ("", "ImportError: cannot import name"),
        ("import sys; del sys.modules['numba']", "KeyError: 'numba'"),
    ],
    ids=["missing", "broken-library", "empty", "odd"],
)
def test_without_numba_numpy_takes_over_with_one_line(
    kinit: Kinit, tmp_path: Path, stub: str, reason: str
) -> None:
    path = stub_numba(tmp_path, stub)
    (tmp_path / "a.yaml").write_text(ALL_KERNELS, encoding="utf-8")
    done = kinit("generate", "a.yaml", "-o", "a.h5", "--engine=numba", "-q", PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (0, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"kinit: note: Numba cannot be used ({reason}")
    assert line.endswith("; NumPy does it, with the same values but slower")
    assert kinit("generate", "a.yaml", "-o", "b.h5", "--engine=numpy", "-q").returncode == 0
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def filled(engine: object, draw: object, dtype: str) -> bytes:
    out = np.zeros(3000, numpy_dtype(dtype))
    engine.fill(out, draw, KEY, start=5, shape=(10**6,))  # type: ignore[attr-defined]
    return out.tobytes()


@needs_numba
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda *arguments: None, "it gives other values than the NumPy engine"),
        (lambda *arguments: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_kernel_that_fails_its_trial_is_not_used(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[..., object], message: str
) -> None:
    from kinit_cli.engines import numba

    faults: list[str] = []
    engine = numba.NumbaEngine(faults.append)
    kernels = {**numba._FILL_KERNELS, np.dtype(np.float32): fault}
    monkeypatch.setattr(numba, "_FILL_KERNELS", kernels)
    draw = Uniform(minval=-1.0, maxval=1.0)
    for dtype in ("float32", "float32", "bfloat16", "float64"):
        assert filled(engine, draw, dtype) == filled(NumpyEngine(), draw, dtype)
    assert [fault.partition(" (")[0] for fault in faults] == [
        "the compiled engine fails for float32",
        "the compiled engine fails for bfloat16",
    ]
    assert all(message in fault for fault in faults)


@needs_numba
def test_statistics_and_matrices_that_fail_their_trial_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kinit_cli.compiled import statistics
    from kinit_cli.engines import numba

    faults: list[str] = []
    engine = numba.NumbaEngine(faults.append)
    monkeypatch.setattr(statistics, "moments_float32", lambda *arguments: None)
    monkeypatch.setattr(numba, "orthogonal_matrix", lambda *arguments, **options: np.eye(3))
    values = np.linspace(-1, 1, 30000, dtype=np.float32)
    assert engine.make_meter().measure(values).is_same(NumpyEngine().make_meter().measure(values))
    draw = Orthogonal(gain=1.0)
    expected = NumpyEngine().orthogonal(draw, KEY, (20, 30))
    assert engine.orthogonal(draw, KEY, (20, 30)).tobytes() == expected.tobytes()
    assert [fault.partition(" (")[0] for fault in faults] == [
        "the compiled engine fails for statistics of float32",
        "the compiled engine fails for orthogonal matrices",
    ]


def test_a_reason_of_many_lines_is_told_in_one(kinit: Kinit, tmp_path: Path) -> None:
    path = stub_numba(tmp_path, "raise ImportError('a\\nb\\n' + 5000 * 'c ')")
    (tmp_path / "a.yaml").write_text(ONE_KERNEL, encoding="utf-8")
    done = kinit("generate", "a.yaml", "-o", "a.h5", "--engine=numba", "-q", PYTHONPATH=path)
    (line,) = done.stderr.decode().splitlines()
    assert "ImportError: a b c c" in line
    assert len(line) < 500


def test_a_module_that_exits_is_no_success(kinit: Kinit, tmp_path: Path) -> None:
    path = stub_numba(tmp_path, "import sys; sys.exit(3)")
    (tmp_path / "a.yaml").write_text(ONE_KERNEL, encoding="utf-8")
    done = kinit("generate", "a.yaml", "-o", "a.h5", "--engine=numba", "-q", PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"Numba cannot be used (SystemExit: 3)" in done.stderr
    assert (tmp_path / "a.h5").exists()


@needs_numba
@pytest.mark.parametrize("name", ["moments_float64", "scan_float64"])
def test_statistics_of_float64_are_tried_on_their_own(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from kinit_cli.compiled import statistics
    from kinit_cli.engines import numba

    faults: list[str] = []
    engine = numba.NumbaEngine(faults.append)
    monkeypatch.setattr(statistics, name, lambda *arguments: 1 / 0)
    for dtype in (np.float32, np.float64, np.int16):
        values = np.arange(30000).astype(dtype)
        expected = NumpyEngine().make_meter().measure(values)
        assert engine.make_meter().measure(values).is_same(expected)
    (fault,) = faults
    assert fault.startswith("the compiled engine fails for statistics of float64 (ZeroDivision")


@needs_numba
def test_everything_is_tried_before_a_file_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinit_cli.engines import numba

    class StopError(Exception):
        pass

    def stop(reason: str) -> None:
        raise StopError(reason)

    monkeypatch.setattr(numba, "_probe_meter", lambda dtype: False)
    engine = numba.NumbaEngine(stop)
    writer = choose_writer("a.h5", None, n_tensors=1)
    output = Output(target=tmp_path / "a.h5", writer=writer)
    with pytest.raises(StopError, match="statistics of float32"):
        generate(plan_of(ONE_KERNEL), output, engine=engine, jobs=1)
    assert list(tmp_path.iterdir()) == []


@needs_numba
def test_many_threads_at_the_first_use() -> None:
    from kinit_cli.engines.numba import NumbaEngine

    engine = NumbaEngine(pytest.fail)
    draws = [Uniform(minval=0.0, maxval=1.0), Normal(mean=0.0, stddev=1.0)]
    cases = [(draw, dtype) for draw in draws for dtype in ("float32", "float64", "float16")] * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda case: filled(engine, *case), cases))
    assert found == [filled(NumpyEngine(), *case) for case in cases]


@needs_numba
@pytest.mark.slow
def test_an_interrupt_while_compiling_is_heard(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ALL_KERNELS, encoding="utf-8")
    command = [sys.executable, "-m", "kinit_cli", "generate", "a.yaml", "-o", "out/a.h5"]
    (tmp_path / "out").mkdir()
    environment = kinit_environment(NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    process = subprocess.Popen(
        [*command, "--engine=numba"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    # Numba makes the folder when it begins.
    deadline = time.monotonic() + 60
    while not (tmp_path / "cache").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].strip() == b"kinit: interrupted"
    assert process.returncode == 130
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("command", ["generate", "inspect"])
def test_an_interrupt_that_a_compiler_swallows_is_raised_again(
    kinit: Kinit, tmp_path: Path, command: str
) -> None:
    (tmp_path / "a.yaml").write_text(ONE_KERNEL, encoding="utf-8")
    assert kinit("generate", "a.yaml", "-o", "a.h5").returncode == 0
    (tmp_path / "sitecustomize.py").write_text(
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a parent may ignore it
        "from kinit_cli.engines.numpy import NumpyEngine\n"
        "def prepare(self, kinds):\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    except BaseException:\n"
        "        pass\n"
        "NumpyEngine.prepare = prepare\n",
        encoding="utf-8",
    )
    path = os.pathsep.join([str(tmp_path), str(Path(kinit_cli.__file__).parents[1])])
    arguments = {"generate": ("a.yaml", "-o", "b.h5"), "inspect": ("a.h5",)}[command]
    done = kinit(command, *arguments, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1")
    assert (done.returncode, done.stdout) == (130, b"")
    assert done.stderr.strip() == b"kinit: interrupted"
    assert not (tmp_path / "b.h5").exists()


def test_a_run_that_has_ended_leaves_no_interrupt_behind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupts.note(KeyboardInterrupt)
    assert run(["--version"]) == 0
    interrupts.raise_noted()


def test_a_target_that_exists_is_told_before_an_engine_is_loaded(
    kinit: Kinit, tmp_path: Path
) -> None:
    path = stub_numba(tmp_path, "raise ImportError('it was loaded')")
    (tmp_path / "a.yaml").write_text(ONE_KERNEL, encoding="utf-8")
    (tmp_path / "a.h5").write_bytes(b"")
    done = kinit("generate", "a.yaml", "-o", "a.h5", "--engine=numba", PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--force" in done.stderr
    assert b"it was loaded" not in done.stderr
