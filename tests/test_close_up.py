"""`kinit inspect FILE TENSOR`: one tensor large, as text and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
from rich.cells import cell_len

from kinit_cli.cli.main import run
from kinit_cli.dtypes import numpy_dtype
from kinit_cli.inspect import inspect_file
from kinit_cli.statistics.quantiles import PERCENTS

SPEC = """\
seed: 3
layers:
  - name: a
    weights:
      kernel: {shape: [40, 50], initializer: {random_normal: {stddev: 1}}}
      matrix: {shape: [8, 8], initializer: orthogonal, dtype: bfloat16}
      zeros: {shape: [7]}
      scalar: {shape: [], initializer: {random_normal: {stddev: 1}}}
      empty: {shape: [0, 3]}
      flag: {shape: [3], dtype: bool, initializer: ones}
      whole: {shape: [2], dtype: int64, initializer: {constant: {value: 9007199254740993}}}
      tiny: {shape: [200], dtype: float8_e4m3fn, initializer: random_normal}
"""
PATHS = ("kernel", "matrix", "zeros", "scalar", "empty", "flag", "whole", "tiny")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("s.yaml").write_text(SPEC, encoding="utf-8")
    assert run(["generate", "s.yaml", "-o", "w.safetensors", "-q"]) == 0
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["inspect", *arguments]) == 0
    return re.sub(r", \d+\.\d\d s.*", ", T", capsys.readouterr().out)


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(["inspect", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


GOLDEN = """\
w
float32 4, 4 elements, 16 bytes

                                                                  █████████████
                                                                  █████████████
                                                                  █████████████
                                                                  █████████████
                                                                  █████████████
                                                                 ▇█████████████
                                                                 ██████████████
▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▅                               ██████████████
██████████████████████████████████                               ██████████████
██████████████████████████████████                               ██████████████
██████████████████████████████████                               ██████████████
██████████████████████████████████                               ██████████████
┬─────────────────────────┬─────────────────────────┬─────────────────────────┬
-1                     -0.3333                   0.3333                       1
█ found

                found
mean              0.1
std            0.8689
L2 norm         1.749
0 % (min)          -1
1 %                -1
5 %                -1
25 %               -1
50 % (median)    -0.5
75 %              0.9
95 %                1
99 %                1
100 % (max)         1
of 4 elements: 0 zero, 0 NaN, 0 Inf
first values: -1.0, -0.5, 0.9, 1.0

1 tensor, 4 parameters, 16 bytes, T
w.npy: npy (flat), all float32
"""


def test_a_foreign_tensor_is_shown_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("w.npy", np.array([-1, -0.5, 0.9, 1], np.float32))
    assert printed(capsys, "w.npy", "w") == GOLDEN
    # Without a pattern there is a table, as of any file.
    assert "histogram" in printed(capsys, "w.npy")


def test_a_tensor_of_ours_is_shown_with_what_is_expected(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, "w.safetensors", "a.kernel")
    assert text.startswith("a.kernel\nfloat32 40×50, 2,000 elements, 8.0 kB (7.8 KiB)\n")
    assert "initializer: random_normal(stddev=1)\n" in text
    assert "█ found   • expected of the initializer\n" in text
    rows = dict(re.findall(r"^(\d+ %|mean|std).*?  +\S+  +(\S+)$", text, re.M))
    assert [float(rows[name]) for name in ("mean", "std")] == [0, 1]
    assert float(rows["25 %"]) == pytest.approx(-0.6745, abs=0.005)
    assert float(rows["95 %"]) == pytest.approx(1.645, abs=0.005)
    # Of 2,000 normals the least is at about -3.4.
    assert float(rows["0 %"]) == pytest.approx(-3.4, abs=0.05)
    assert "seed 3, stream 1" in text
    picture = text.split("\n\n")[1].splitlines()
    assert len(picture) == 15
    heights = [sum(line.ljust(80)[column] != " " for line in picture[:12]) for column in range(79)]
    assert heights[39] == 12
    assert heights[5] == heights[75] == 1


@pytest.mark.parametrize("width", ["20", "40", "80", "200"])
@pytest.mark.parametrize("name", PATHS)
def test_every_kind_of_tensor_fits(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    width: str,
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    text = printed(capsys, "w.safetensors", f"a.{name}", "--check")
    body = text.split("\n\n1 tensor")[0]
    picture = [line for line in body.splitlines() if set(line) & set("█•─")]
    assert (len(picture) >= 13) is (name != "empty")
    assert all(cell_len(line) <= int(width) for line in picture if "found" not in line)
    # A pattern that chooses one is as good as its path.
    again = printed(capsys, "w.safetensors", f"*{name}", "--check")
    assert again == text


def test_ascii_has_letters_of_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    from kinit_cli.render.close_up import render_close_up

    class Stream:
        encoding = "ascii"
        text = ""

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None: ...

    stream: Any = Stream()
    summary = inspect_file("w.safetensors", pattern="a.kernel", is_close=True)
    render_close_up(summary, console=Console(file=stream, width=60, markup=False))
    assert stream.text.isascii()
    assert "# found   o expected of the initializer" in stream.text
    assert "40x50" in stream.text


def test_several_tensors_are_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "first values" not in printed(capsys, "w.safetensors", "*")
    assert "first values" in printed(capsys, "w.safetensors", "*kernel")


def test_first_values_are_exact(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("f.h5", "w") as file:
        file["f4"] = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
        file["odd"] = np.array([0.1, -0.0, np.nan, np.inf, -np.inf, 5e-324])
        file["i8"] = np.array([2**63 - 1, -(2**63)], ">i8")
        file["bool"] = np.array([True, False])
        file["complex"] = np.array([1 + 2j])
        file["text"] = "hello"

    def first(name: str) -> Any:
        (tensor,) = document(capsys, "f.h5", name)["tensors"]
        return tensor["first_values"]

    found = first("f4")
    assert np.array(found, np.float32).tolist() == np.linspace(-1, 1, 12, dtype="f4")[:10].tolist()
    assert first("odd") == ["0.1", "-0.0", "nan", "inf", "-inf", "5e-324"]
    assert first("i8") == [str(2**63 - 1), str(-(2**63))]
    assert first("bool") == ["True", "False"]
    assert first("complex") is None
    assert first("text") is None
    for name in ("complex", "text"):
        assert "no real numbers" in printed(capsys, "f.h5", name)
    assert "..." in printed(capsys, "f.h5", "f4")
    text = printed(capsys, "f.h5", "odd")
    assert text.startswith("odd\n1 NaN, 2 Inf\nfloat64 6, 6 elements")
    assert "of 6 elements: 1 zero, 1 NaN, 2 Inf" in text


@pytest.mark.parametrize(
    "name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float32", "float64", "int8"]
)
def test_first_values_of_every_dtype_round_trip(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Path("t.yaml").write_text(
        f"layers: [{{name: a, weights: {{k: {{shape: [9], dtype: {name}, initializer: "
        f"{'ones' if name == 'int8' else 'random_normal'}}}}}}}]\nseed: 1\n",
        encoding="utf-8",
    )
    assert run(["generate", "t.yaml", "-o", "t.safetensors", "-q"]) == 0
    (tensor,) = document(capsys, "t.safetensors", "a.k")["tensors"]
    with open("t.safetensors", "rb") as file:
        data = file.read()[-9 * numpy_dtype(name).itemsize :]
    back = np.array([float(x) for x in tensor["first_values"]]).astype(numpy_dtype(name))
    assert back.tobytes() == data


def test_quantiles_in_json_are_elements(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal(5001).astype(ml_dtypes.bfloat16).astype(np.float32)
    np.save("w.npy", values)
    (tensor,) = document(capsys, "w.npy", "w")["tensors"]
    q = [p / 100 for p in PERCENTS]
    expected = np.quantile(values, q, method="inverted_cdf").tolist()
    assert [entry["percent"] for entry in tensor["quantiles"]] == list(PERCENTS)
    assert [entry["value"] for entry in tensor["quantiles"]] == expected
    assert {entry["expected"] for entry in tensor["quantiles"]} == {None}
    assert [x["value"] for x in tensor["quantiles"]][::8] == [
        tensor["stats"]["min"],
        tensor["stats"]["max"],
    ]
    (both,) = document(capsys, "w.npy")["tensors"]
    assert (both["quantiles"], both["first_values"]) == (None, None)


def test_whole_numbers_are_not_rounded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tensor,) = document(capsys, "w.safetensors", "a.whole")["tensors"]
    assert {entry["value"] for entry in tensor["quantiles"]} == {2**53 + 1}
    assert tensor["first_values"] == [str(2**53 + 1)] * 2
    assert "9007199254740993" in printed(capsys, "w.safetensors", "a.whole")


def test_what_has_no_finite_element_has_no_quantiles(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("n.npy", np.array([np.nan, np.inf]))
    (tensor,) = document(capsys, "n.npy", "n")["tensors"]
    assert (tensor["quantiles"], tensor["first_values"]) == ([], ["nan", "inf"])
    assert "first values: nan, inf" in printed(capsys, "n.npy", "n")
    (tensor,) = document(capsys, "w.safetensors", "a.empty")["tensors"]
    assert (tensor["quantiles"], tensor["first_values"]) == ([], [])


def test_names_are_shown_verbatim(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("f.h5", "w") as file:
        file["[red]a\x1b[31m"] = np.zeros(3, np.float32)
        file["other"] = np.zeros(3, np.float32)
    assert printed(capsys, "f.h5", "?red*").startswith("[red]a\\x1b[31m\n")


def test_a_failed_test_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "s.yaml", "-o", "d/", "-q"]) == 2  # float8 has no .npy
    Path("t.yaml").write_text(
        "layers: [{name: a, weights: {k: {shape: [99]}, b: {shape: [2]}}}]\nseed: 1\n"
    )
    assert run(["generate", "t.yaml", "-o", "t.h5", "-q"]) == 0
    with h5py.File("t.h5", "a") as file:
        file["a/k"][...] = 7
    capsys.readouterr()
    assert run(["inspect", "t.h5", "a/k", "--check"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("a/k\nfails its test\n")
    assert "tests: 1 failed" in out
