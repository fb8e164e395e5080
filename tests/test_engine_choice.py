"""Which engine a name stands for, and what happens where Numba is missing or broken."""

from __future__ import annotations

import os
import shutil
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
from every_engine import needs_numba
from spec_texts import plan_of

import kinit_cli
from kinit_cli.draw import Normal, Orthogonal, Uniform
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.engines import ENGINE_NAMES, code_cache, get_engine
from kinit_cli.engines.numpy import NumpyEngine
from kinit_cli.engines.registry import SECONDS_TO_COMPILE, SECONDS_TO_LOAD
from kinit_cli.engines.saving import seconds_saved_generating, seconds_saved_measuring
from kinit_cli.errors import UnavailableError
from kinit_cli.formats.registry import choose_writer
from kinit_cli.pipeline import Output, generate
from kinit_cli.stream.identity import named_stream_key

KEY = named_stream_key(1, "a/kernel")
SPEC = """\
seed: 3
layers:
  - name: a
    weights:
      normal: {shape: [37, 61], initializer: he_normal}
      uniform: {shape: [61, 5], initializer: glorot_uniform, dtype: float64}
      normal16: {shape: [300], initializer: {random_normal: {mean: 1}}, dtype: float16}
      uniform16: {shape: [300], initializer: random_uniform, dtype: bfloat16}
      zeros: {shape: [7], initializer: zeros}
      matrix: {shape: [5, 9], initializer: orthogonal}
"""
ONE_KERNEL = "seed: 3\nlayers: [{name: a, weights: {kernel: {shape: [37, 61]}}}]\n"
LARGE = "seed: 1\nlayers: [{name: a, weights: {kernel: {shape: [30000, 40000]}}}]"
MANY = """\
seed: 1
layers:
  - repeat: 20000
    layers: [{name: "a{i}", weights: {kernel: {shape: [2]}}}]
"""


def test_engines_by_name() -> None:
    assert set(ENGINE_NAMES) == {"auto", "numpy", "numba"}
    assert get_engine("numpy").name == "numpy"
    with pytest.raises(UnavailableError, match="did you mean 'numpy'"):
        get_engine("nunpy")
    with pytest.raises(UnavailableError, match="known are auto, numpy, numba"):
        get_engine("zzz")


@needs_numba
def test_auto_is_numba_when_that_saves_more_than_it_costs() -> None:
    assert get_engine("auto").name == "numpy"
    assert get_engine("auto", seconds_saved=SECONDS_TO_LOAD * 0.99).name == "numpy"
    assert get_engine("auto", seconds_saved=SECONDS_TO_LOAD * 1.01).name == "numba"


def test_what_is_saved_grows_with_the_work() -> None:
    small = plan_of("seed: 1\nlayers: [{name: a, weights: {kernel: {shape: [300, 400]}}}]")
    large = plan_of(LARGE)
    assert seconds_saved_generating(small, 1) < SECONDS_TO_LOAD / 100
    assert seconds_saved_generating(large, 2) > 2 * SECONDS_TO_LOAD
    # NumPy's threads wait for each other, so more of them change little.
    assert seconds_saved_generating(large, 16) > seconds_saved_generating(large, 1) / 2
    zeros = plan_of(LARGE.replace("40000]", "40000], initializer: zeros"))
    assert seconds_saved_generating(zeros, 1) < seconds_saved_generating(large, 1) / 2
    many = plan_of(MANY)
    assert seconds_saved_generating(many, 2) > SECONDS_TO_LOAD
    assert seconds_saved_measuring(1, 2 * 10**9, 2) > SECONDS_TO_LOAD
    matrix = plan_of(LARGE.replace("[30000, 40000]", "[8000, 8000], initializer: orthogonal"))
    assert seconds_saved_generating(matrix, 1) > SECONDS_TO_LOAD


def stub_numba(folder: Path, text: str) -> str:
    """Give a search path on which `import numba` runs `text`."""
    (folder / "stubs" / "numba").mkdir(parents=True)
    (folder / "stubs" / "numba" / "__init__.py").write_text(text, encoding="utf-8")
    return os.pathsep.join([str(folder / "stubs"), str(Path(kinit_cli.__file__).parents[1])])


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
    (tmp_path / "a.yaml").write_text(SPEC, encoding="utf-8")
    done = kinit("generate", "a.yaml", "-o", "a.h5", "--engine=numba", "-q", PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (0, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"kinit: note: Numba cannot be used ({reason}")
    assert line.endswith("; NumPy does it, with the same values but slower")
    assert kinit("generate", "a.yaml", "-o", "b.h5", "--engine=numpy", "-q").returncode == 0
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_numba_is_not_imported_for_small_work(kinit: Kinit, tmp_path: Path) -> None:
    path = stub_numba(tmp_path, "raise SystemExit('numba was imported')")
    (tmp_path / "a.yaml").write_text(SPEC, encoding="utf-8")
    assert kinit("generate", "a.yaml", "-o", "a.h5", PYTHONPATH=path).returncode == 0
    assert kinit("inspect", "a.h5", PYTHONPATH=path).returncode == 0


# --- parts that do not work ---------------------------------------------------------------------


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


# --- where compiled code is kept ----------------------------------------------------------------

FILE_AS_FOLDER = "no-folder"


@needs_numba
@pytest.mark.slow
def test_a_cache_that_cannot_be_written(kinit: Kinit, tmp_path: Path) -> None:
    # Root may write anywhere, but nobody can make a folder in a file.
    source = Path(kinit_cli.__file__).parent
    copied = tmp_path / "copy" / "kinit_cli"
    shutil.copytree(source, copied, ignore=shutil.ignore_patterns("__pycache__"))
    (copied / "compiled" / "__pycache__").write_text("", encoding="utf-8")
    (tmp_path / FILE_AS_FOLDER).write_text("", encoding="utf-8")
    nowhere = str(tmp_path / FILE_AS_FOLDER / "x")
    environment = {
        "PYTHONPATH": str(copied.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": nowhere,
        "XDG_CACHE_HOME": nowhere,
    }
    check_engine_numba(kinit, tmp_path, ONE_KERNEL, **environment)


@needs_numba
@pytest.mark.slow
def test_a_cache_that_is_damaged(kinit: Kinit, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    check_engine_numba(kinit, tmp_path, ONE_KERNEL, NUMBA_CACHE_DIR=str(cache))
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert any(path.suffix == ".nbi" for path in files)
    assert any(path.suffix == ".nbc" for path in files)
    for suffix in (".nbi", ".nbc"):
        for path in files:
            if path.suffix == suffix:
                path.write_bytes(path.read_bytes()[:100])
        check_engine_numba(kinit, tmp_path, ONE_KERNEL, NUMBA_CACHE_DIR=str(cache))


@needs_numba
@pytest.mark.slow
def test_the_bits_do_not_depend_on_the_processor_compiled_for(kinit: Kinit, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    check_engine_numba(kinit, tmp_path, SPEC, NUMBA_CPU_NAME="generic", NUMBA_CACHE_DIR=cache)


@needs_numba
def test_the_bits_do_not_depend_on_being_compiled(kinit: Kinit, tmp_path: Path) -> None:
    check_engine_numba(kinit, tmp_path, SPEC, NUMBA_DISABLE_JIT="1")


def check_engine_numba(kinit: Kinit, folder: Path, spec: str, **environment: str) -> None:
    (folder / "a.yaml").write_text(spec, encoding="utf-8")
    for engine, changes in (("numpy", {}), ("numba", environment)):
        options = ("-o", f"{engine}.h5", f"--engine={engine}", "--force", "--json")
        done = kinit("generate", "a.yaml", *options, **changes)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
        assert f'"engine": "{engine}"'.encode() in done.stdout
    assert (folder / "numba.h5").read_bytes() == (folder / "numpy.h5").read_bytes()


@needs_numba
def test_a_file_that_cannot_be_saved_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core import caching

    from kinit_cli.compiled.kernel import Kernel

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", fail)
    monkeypatch.setattr(caching.IndexDataCacheFile, "load", lambda *arguments: None)
    kernel = Kernel(_twice, "float64(float64)")
    assert kernel(1.5) == 3.0


def _twice(x: float) -> float:
    return 2 * x


def test_naming_engines_imports_no_numpy() -> None:
    code = "import sys, kinit_cli.engines, kinit_cli.stream; sys.exit('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, env=kinit_environment())
    assert done.returncode == 0


# --- what else can go wrong ---------------------------------------------------------------------


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
def test_auto_is_numpy_where_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert get_engine("auto", seconds_saved=1000).name == "numpy"
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    assert get_engine("auto", seconds_saved=1000).name == "numba"


@needs_numba
def test_auto_counts_compiling_where_code_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE_AS_FOLDER).write_text("", encoding="utf-8")
    nowhere = str(tmp_path / FILE_AS_FOLDER / "x")
    monkeypatch.setattr(code_cache, "_COMPILED", tmp_path / FILE_AS_FOLDER)
    monkeypatch.setenv("XDG_CACHE_HOME", nowhere)
    monkeypatch.setenv("NUMBA_CACHE_DIR", nowhere)
    assert not code_cache.can_keep_code()
    little, much = SECONDS_TO_LOAD * 1.01, SECONDS_TO_LOAD + SECONDS_TO_COMPILE * 1.01
    assert [get_engine("auto", seconds_saved=s).name for s in (little, much)] == ["numpy", "numba"]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new" / "folder"))
    assert code_cache.can_keep_code()
    assert get_engine("auto", seconds_saved=little).name == "numba"


def test_code_that_is_there_need_not_be_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_cache, "_COMPILED", tmp_path)
    monkeypatch.setattr(code_cache, "_is_writable", lambda folder: False)
    assert not code_cache.can_keep_code()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "stream._fill_0123-1.py311.nbi").write_bytes(b"")
    assert code_cache.can_keep_code()


@needs_numba
def test_kept_code_is_named_by_all_that_it_is_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinit_cli.compiled import kernel

    versions = []
    for text in ("a = 1\n", "a = 2\n"):
        (tmp_path / "stream").mkdir(exist_ok=True)
        (tmp_path / "stream" / "philox.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(kernel, "_PACKAGE", tmp_path)
        kernel.code_version.cache_clear()
        versions.append(kernel.code_version())
        assert kernel._named_by_version(_twice).__qualname__ == f"_twice_{versions[-1]}"
    monkeypatch.undo()
    kernel.code_version.cache_clear()
    assert len({*versions, kernel.code_version()}) == 3
    assert kernel._named_by_version(_twice)(4.0) == 8.0


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
def test_inspect_measures_compiled_where_that_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kinit_cli.inspect
    from kinit_cli.compiled.meter import CompiledMeter

    np.save(tmp_path / "a.npy", np.linspace(-1, 1, 30000, dtype=np.float32))
    measured: list[int] = []
    measure = CompiledMeter.measure
    monkeypatch.setattr(
        CompiledMeter,
        "measure",
        lambda self, tile: measured.append(tile.size) or measure(self, tile),
    )
    plain = kinit_cli.inspect.inspect_file(tmp_path / "a.npy").tensors
    assert measured == []
    monkeypatch.setattr("kinit_cli.engines.registry.SECONDS_TO_LOAD", 0)
    assert kinit_cli.inspect.inspect_file(tmp_path / "a.npy").tensors == plain
    assert 30000 in measured


@needs_numba
@pytest.mark.slow
def test_an_interrupt_while_compiling_is_heard(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SPEC, encoding="utf-8")
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
