"""`kinit import` of weights files: the spec makes a file with the same names, shapes and dtypes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from kinit_cli.cli.main import run
from kinit_cli.formats.readers import open_weights
from kinit_cli.importing.rules import initializer_for
from kinit_cli.importing.text import listed_text
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import load_spec, parse_spec

CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "int64": "I64", "uint8": "U8",
    "bool": "BOOL", "C64": "C64",
}  # fmt: skip
Tensors = Mapping[str, tuple[tuple[int, ...], str]]

#: A model as PyTorch saves one, with names that no layer has.
TENSORS: Tensors = {
    "transformer.wte.weight": ((11, 4), "bfloat16"),
    "transformer.h.0.ln_1.weight": ((4,), "bfloat16"),
    "transformer.h.0.ln_1.bias": ((4,), "bfloat16"),
    "transformer.h.0.attn.weight": ((12, 4), "bfloat16"),
    "transformer.h.10.attn.weight": ((12, 4), "float8_e4m3fn"),
    "transformer.h.2.attn.weight": ((12, 4), "float8_e5m2"),
    "transformer.h": ((2,), "float64"),
    "bn.num_batches_tracked": ((), "int64"),
    "bn.running_var": ((4,), "float32"),
    "bn.running_mean": ((4,), "float32"),
    "mask": ((1, 3), "bool"),
    "logit_scale": ((), "float16"),
    "odd..name": ((2, 2), "bfloat16"),
    ".first": ((2,), "bfloat16"),
    "last.": ((2,), "bfloat16"),
    "{i}.weight": ((2, 0, 3), "bfloat16"),
    "null.true": ((1,), "uint8"),
    "0.1": ((1,), "bfloat16"),
    'Ünï "codé" \\ # : ,[]{}&*\u2028.weight': ((1,), "bfloat16"),
}


def write_safetensors(path: Path, tensors: Tensors) -> Path:
    header, stop = {}, 0
    for name, (shape, dtype) in tensors.items():
        width = 8 if dtype == "C64" else np.dtype(getattr(ml_dtypes, dtype, dtype)).itemsize
        start, stop = stop, stop + int(np.prod(shape)) * width
        header[name] = {"dtype": CODES[dtype], "shape": shape, "data_offsets": [start, stop]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + stop)
    return path


def found_in(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    with open_weights(path) as file:
        return {entry.path: (entry.shape, entry.dtype) for entry in file.entries}


def made_again(source: Path, target: str, *options: str, spec: str = "spec.yaml") -> Path:
    """Import a file and generate one from the spec."""
    written, out = source.parent / spec, source.parent / target
    assert run(["import", str(source), "-o", str(written)]) == 0
    command = ["generate", str(written), "-o", f"{out}/" if target == "made" else str(out)]
    assert run([*command, "--seed", "3", "-q", "--engine", "numpy", *options]) == 0
    return out


def initializers_of(spec: Path) -> dict[str, str]:
    return {tensor.path: str(tensor.initializer) for tensor in make_plan(load_spec(spec)).tensors}


# --- the same names, shapes and dtypes ----------------------------------------------------------


@pytest.mark.parametrize("spec", ["spec.yaml", "spec.json"])
def test_safetensors(tmp_path: Path, spec: str) -> None:
    source = write_safetensors(tmp_path / "model", TENSORS)
    assert found_in(made_again(source, "new.safetensors", spec=spec)) == TENSORS


def test_safetensors_whose_names_have_slashes(tmp_path: Path, capsys: Any) -> None:
    tensors = {"params/Dense_0.x/kernel": ((2, 3), "float32"), "a.b.weight": ((2,), "float32")}
    source = write_safetensors(tmp_path / "model", tensors)
    assert found_in(made_again(source, "new.safetensors", "--separator", "/")) == tensors
    assert "names have a '/': generate with --separator /" in capsys.readouterr().err


def test_a_set_of_safetensors(tmp_path: Path) -> None:
    tensors = {f"h.{i}.weight": ((4, 2), "float32") for i in range(12)}
    for number, part in enumerate((list(tensors)[:7], list(tensors)[7:])):
        write_safetensors(tmp_path / f"s{number}", {name: tensors[name] for name in part})
    weight_map = {name: f"s{int(i >= 7)}" for i, name in enumerate(tensors)}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    made = made_again(index, "made", "--format", "safetensors", "--max-shard-size", "100")
    assert found_in(made) == tensors
    assert len(list(made.glob("*.safetensors"))) == 4


def test_npz(tmp_path: Path) -> None:
    source = tmp_path / "w.npz"
    arrays = {"arr_0": np.ones((2, 3)), "b.c": np.ones(2, ">i4"), "w": np.float16(1)}
    np.savez(source, **arrays)
    with np.load(made_again(source, "new.npz")) as made:
        found = {name: made[name] for name in made.files if name != "kinit.json"}
    assert {k: (v.shape, v.dtype.name) for k, v in found.items()} == {
        "arr_0": ((2, 3), "float64"), "b.c": ((2,), "int32"), "w": ((), "float16"),
    }  # fmt: skip


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.ones((2, 3), np.float16))
    made = np.load(made_again(tmp_path / "one.npy", "new.npy"))
    assert (made.shape, made.dtype) == ((2, 3), np.float16)


def test_a_directory_of_npy(tmp_path: Path) -> None:
    (tmp_path / "dir" / "a" / "b").mkdir(parents=True)
    np.save(tmp_path / "dir" / "top.npy", np.ones((2, 3), np.float32))
    np.save(tmp_path / "dir" / "a" / "b" / "c.d.npy", np.ones(2, np.int8))
    found = found_in(made_again(tmp_path / "dir", "made"))
    assert found == {"a/b/c.d": ((2,), "int8"), "top": ((2, 3), "float32")}


def test_hdf5_of_any_kind(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["top"] = np.ones((2, 3), np.float32)
        file["a/b/c"] = np.ones(4, ">f8")
        file["a/{b}"] = np.ones((), bool)
        file.create_dataset("large", (2**20, 2**10), np.float32, chunks=True)
    expected = {
        "a/b/c": ((4,), "float64"), "a/{b}": ((), "bool"), "top": ((2, 3), "float32"),
    }  # fmt: skip
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        del file["large"]
    assert found_in(made_again(tmp_path / "w.h5", "new.h5")) == expected
    with h5py.File(tmp_path / "new.h5") as file:
        # What is in no layer is in no list of layers.
        assert list(file.attrs["layer_names"]) == [b"a/b", b"a"]


def test_hdf5_with_nothing_but_weights_in_no_layer(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["w"] = np.ones((2, 3), np.float32)
    made = made_again(tmp_path / "w.h5", "new.h5")
    assert found_in(made) == {"w": ((2, 3), "float32")}
    with h5py.File(made) as file:
        assert "layer_names" not in file.attrs


def test_a_keras_3_file_keeps_its_places(tmp_path: Path) -> None:
    shapes = {
        "layers/dense/vars/0": (3, 4), "layers/dense/vars/1": (4,),
        "layers/batch_normalization_2/vars/0": (4,), "layers/batch_normalization_2/vars/1": (4,),
        "layers/batch_normalization_2/vars/2": (4,), "layers/batch_normalization_2/vars/3": (4,),
        "layers/lstm/cell/vars/0": (2, 12), "layers/lstm/cell/vars/1": (3, 12),
        "layers/lstm/cell/vars/2": (12,), "layers/embedding/vars/0": (7, 2), "vars/0": (2,),
    }  # fmt: skip
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for path, shape in shapes.items():
            file[path] = np.ones(shape, np.float32)
    made = made_again(tmp_path / "m.weights.h5", "new.weights.h5")
    assert found_in(made) == {path: (shape, "float32") for path, shape in shapes.items()}
    found = initializers_of(tmp_path / "spec.yaml")
    numbers = [f"layers/batch_normalization_2/vars/{i}" for i in range(4)]
    assert [found[name] for name in numbers] == ["ones", "zeros", "zeros", "ones"]
    cell = [found[f"layers/lstm/cell/vars/{i}"] for i in range(3)]
    assert cell == ["glorot_uniform", "orthogonal", "zeros"]
    assert found["layers/embedding/vars/0"] == "random_uniform"


def test_a_legacy_file_keeps_the_order_of_its_lists(tmp_path: Path) -> None:
    def fill(root: Any) -> None:
        root.attrs["layer_names"] = [b"z", b"input", b"a/b"]
        for layer, names in {"z": [b"z/kernel:0", b"z/bias:0"], "input": [], "a/b": [b"w"]}.items():
            group = root.create_group(layer)
            for part, name in enumerate(names):
                group.attrs[f"weight_names{part}"] = [name]  # as long lists are cut
                group[name] = np.ones((2, 3), np.float32)
            if not names:
                group.attrs["weight_names"] = []

    with h5py.File(tmp_path / "w.h5", "w") as file:
        fill(file)
        file["extra"] = np.ones(2, np.float32)
    with h5py.File(tmp_path / "model.h5", "w") as file:
        fill(file.create_group("model_weights"))
        file["optimizer_weights/x"] = np.ones(2, np.float32)
    for name, extra in (("w", {"extra"}), ("model", set())):
        made = made_again(tmp_path / f"{name}.h5", f"{name}2.h5", spec=f"{name}.yaml")
        assert set(found_in(made)) == {"z/z/kernel:0", "z/z/bias:0", "a/b/w"} | extra
        with h5py.File(made) as file:
            assert list(file.attrs["layer_names"]) == [b"z", b"a/b"]
            assert list(file["z"].attrs["weight_names"]) == [b"z/kernel:0", b"z/bias:0"]


def test_a_file_of_kinits_gives_the_recorded_spec(tmp_path: Path, capsys: Any) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "kinit: 1\nparams: {n: 3}\nlayers:\n- repeat: n\n  layers:\n"
        '  - {name: "h{i}", weights: {kernel: {shape: [n, 2], initializer: he_normal}}}\n'
    )
    for name in ("w.safetensors", "w.h5", "w.npz"):
        out, again = str(tmp_path / name), str(tmp_path / f"again-{name}")
        assert run(["generate", str(spec), "-o", out, "--seed", "4", "-q"]) == 0
        assert run(["import", out, "-o", str(tmp_path / "r.yaml"), "-f"]) == 0
        assert "repeat: n" in (tmp_path / "r.yaml").read_text()
        assert run(["generate", str(tmp_path / "r.yaml"), "-o", again, "-q"]) == 0
        assert Path(again).read_bytes() == Path(out).read_bytes()
    assert run(["import", out, "--initializer", "*=ones"]) == 2
    assert "a file without a spec in it" in capsys.readouterr().err


def test_a_spec_of_other_tensors_is_not_the_files(tmp_path: Path, capsys: Any) -> None:
    spec, out = tmp_path / "spec.yaml", tmp_path / "w.h5"
    spec.write_text("layers: [{name: a, weights: {kernel: {shape: [2, 2]}}}]")
    assert run(["generate", str(spec), "-o", str(out), "--seed", "4", "-q"]) == 0
    with h5py.File(out, "r+") as file:
        file["a/more"] = np.ones(3, np.float32)
    assert run(["import", str(out)]) == 0
    assert "more: {shape: [3]" in capsys.readouterr().out


# --- initializers -------------------------------------------------------------------------------


def test_the_whole_text(tmp_path: Path, capsys: Any) -> None:
    tensors = {
        "h.0.ln.weight": ((4,), "bfloat16"),
        "h.0.fc.weight": ((4, 4), "bfloat16"),
        "h.0.fc.bias": ((4,), "bfloat16"),
        "h.1.fc.weight": ((4, 4), "bfloat16"),
        "h.1.fc.bias": ((4,), "bfloat16"),
        "bn.num_batches_tracked": ((), "int64"),
        "phase": ((2,), "C64"),
    }
    source = write_safetensors(tmp_path / "model.safetensors", tensors)
    command = ["import", str(source), "--initializer", "h/0/*={random_normal: {stddev: 0.02}}"]
    assert (
        run([*command, "--initializer", "h.*.bias=ones", "--initializer", "*1.fc.bias=zero"]) == 0
    )
    out, err = capsys.readouterr()
    assert err == ("kinit: note: left out, of dtypes that kinit cannot make: 'phase' (C64)\n")
    assert (
        out
        == """\
# model.safetensors: 45 parameters in 6 tensors.
# Initializers go by the tensors' names: edit them.
# left out, of dtypes that kinit cannot make: 'phase' (C64)
kinit: 1
dtype: bfloat16
layout: torch
defaults:
  bias: ones
  weight: {random_normal: {stddev: 0.02}}
layers:
  - name: bn
    weights:
      num_batches_tracked: {shape: [], dtype: int64, initializer: zeros}
  - name: h/0/fc
    weights:
      bias: {shape: [4]}
      weight: {shape: [4, 4]}
  - name: h/0/ln
    weights:
      weight: {shape: [4]}
  - name: h/1/fc
    weights:
      bias: {shape: [4], initializer: zero}
      weight: {shape: [4, 4], initializer: {kaiming_uniform: {a: "sqrt(5)"}}}
"""
    )


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        ("fc/weight", (3, 4), {"kaiming_uniform": {"a": "sqrt(5)"}}),
        ("ln/weight", (3,), "ones"),
        ("fc/bias", (3,), "zeros"),
        ("lstm/bias_ih_l0", (3,), "zeros"),
        ("attn/in_proj_bias", (3,), "zeros"),
        ("embed_tokens/weight", (9, 4), {"random_normal": {"stddev": 0.02}}),
        ("wte/weight", (9, 4), {"random_normal": {"stddev": 0.02}}),
        ("bn/running_mean", (3,), "zeros"),
        ("bn/running_var", (3,), "ones"),
        ("layer_norm/scale", (3,), "ones"),
        ("logit_scale", (), "ones"),
        ("dt", (3,), "zeros"),
        ("rnn/recurrent_kernel:0", (3, 3), "orthogonal"),
        ("emb/embeddings:0", (3, 3), "random_uniform"),
        ("bn/moving_variance:0", (3,), "ones"),
        ("fc/weight", (0, 4), "zeros"),
    ],
)
def test_initializers_by_name(path: str, shape: tuple[int, ...], expected: Any) -> None:
    assert initializer_for(path, shape, is_float=True, is_torch=True) == expected
    assert initializer_for(path, shape, is_float=False, is_torch=True) == "zeros"


def test_every_text_reads_as_itself() -> None:
    names = [*TENSORS, "no", "~", "1e3", "-", "a b", "True", "NULL", "x:y", "'", "\x7f", "é"]
    weights = {name: {"shape": [], "initializer": "ones"} for name in names}
    document = {"kinit": 1, "layers": [{"name": name, "weights": weights} for name in names]}
    text = listed_text({"layers": document["layers"]}, "a\nb")
    assert parse_spec(text.encode(), "s.yaml").document == document


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("*=onse", "expected a known initializer, got 'onse'; did you mean 'one'?"),
        ("*={random_normal: {std: 1}}", "expected an argument of random_normal, got 'std'"),
        ("*={", "expected YAML 1.2 or JSON"),
        ("*=", "expected PATTERN=CONFIG, as"),
        ("ones", "expected PATTERN=CONFIG, as"),
        ("b*=ones", "matches a tensor of {file}, got none that does; their names are like 'a/b'"),
        ("*=he_normal", "m: layers[0].weights.c.initializer: expected zeros, ones"),
    ],
)
def test_settings_that_are_refused(
    setting: str, expected: str, tmp_path: Path, capsys: Any
) -> None:
    tensors = {"a.b": ((2, 2), "float32"), "a.c": ((), "int64")}
    source = write_safetensors(tmp_path / "m", tensors)
    assert run(["import", str(source), "--initializer", setting]) == 2
    assert expected.format(file=source) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ({"a": ((2,), "C64")}, "expected tensors that kinit can make, got C64"),
        ({"a\nb": ((2,), "float32")}, "names that a spec can have, got 'a\\nb', which has the"),
        ({"a//b": ((2,), "float32")}, "which has an empty part"),
        ({"x" * 2000: ((2,), "float32")}, "which has 2000 characters"),
        ({}, "expected tensors that kinit can make, got no tensors"),
    ],
)
def test_files_that_are_refused(
    tensors: Tensors, expected: str, tmp_path: Path, capsys: Any
) -> None:
    source = write_safetensors(tmp_path / "m", tensors)
    assert run(["import", str(source)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert expected in err


def test_what_is_neither_model_nor_weights(tmp_path: Path, capsys: Any) -> None:
    for content, expected in (
        (b"\x80\x04pickle", "a Python pickle"),
        (b"PK\x03\x04broken", "a .keras archive (zip)"),
        (b'{"weight_map": {}}', "no weight_map that lists tensors"),
        (b"layers: [{name: a, weights: {b: {shape: [2]}}}]", "got a spec; kinit generate reads it"),
        (b'{"layers": [{"name": "a", "weights": {"b": {"shape": [2]}}}]}', "got a spec; kinit"),
    ):
        (tmp_path / "x").write_bytes(content)
        assert run(["import", str(tmp_path / "x")]) == 2
        assert expected in capsys.readouterr().err
    assert run(["import", str(tmp_path / "none")]) == 2
    assert "got no such file" in capsys.readouterr().err


def test_only_the_header_is_read(tmp_path: Path) -> None:
    shape = (2**17, 2**17)  # 64 GiB in a file with nothing stored
    source = write_safetensors(tmp_path / "m", {"a.weight": (shape, "float32")})
    assert run(["import", str(source), "-o", str(tmp_path / "s.yaml")]) == 0
    (tensor,) = make_plan(load_spec(tmp_path / "s.yaml")).tensors
    assert tensor.shape == shape
