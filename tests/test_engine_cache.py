"""Compiled code that is kept, cannot be kept, or is made for another processor."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import Kinit
from every_engine import ALL_KERNELS, ONE_KERNEL, needs_numba

import kinit_cli

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
    check_engine_numba(
        kinit, tmp_path, ALL_KERNELS, NUMBA_CPU_NAME="generic", NUMBA_CACHE_DIR=cache
    )


@needs_numba
def test_the_bits_do_not_depend_on_being_compiled(kinit: Kinit, tmp_path: Path) -> None:
    check_engine_numba(kinit, tmp_path, ALL_KERNELS, NUMBA_DISABLE_JIT="1")


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


def _twice(x: float) -> float:
    return 2 * x
