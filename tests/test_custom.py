"""Custom initializers in both forms: functions, and classes whose config goes into the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from custom_specs import plan_with, values_with, write, written
from custom_things import Plain, Scaled, ramp, seeded

from kinit_cli.dtypes import DTYPES
from kinit_cli.errors import KinitError
from kinit_cli.initializers.custom import CustomInitializers
from kinit_cli.inspect import inspect_file
from kinit_cli.manifest import parse_manifest, plan_of
from kinit_cli.stream.identity import framework_seed, named_stream_key

SEED_OF_K = framework_seed(named_stream_key(7, "a/k"))


# --- what is called -----------------------------------------------------------------------------


#: .npy has no names for the others.
NPY_DTYPES = [name for name in DTYPES if not name.startswith(("bfloat", "float8"))]


@pytest.mark.parametrize("dtype", sorted(NPY_DTYPES))
def test_a_function_fills_a_tensor_of_any_dtype(dtype: str, tmp_path: Path) -> None:
    step = 1 / 11 if dtype == "bool" else 2
    weight = written({"ramp": {"step": step}}, dtype=dtype)
    got = values_with({"ramp": ramp}, {"k": weight}, tmp_path / "w")["k"]
    expected = (np.arange(12) * step).reshape(4, 3).astype(dtype)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "initializer",
    [
        {"ramp": {"step": 2.5}},
        {"class_name": "ramp", "config": {"step": 2.5}},
        {"module": "mine", "class_name": "ramp", "config": {"step": 2.5}, "registered_name": "x"},
        {"ramp": {"step": "{half * 5}"}},
    ],
)
def test_every_way_of_writing_one(initializer: Any, tmp_path: Path) -> None:
    got = values_with({"ramp": ramp}, {"k": initializer}, tmp_path / "w", params={"half": 0.5})
    np.testing.assert_array_equal(got["k"], np.arange(12, dtype="f4").reshape(4, 3) * 2.5)


def test_texts_lists_and_mappings_arrive_as_they_are_written(tmp_path: Path) -> None:
    got: list[Any] = []

    def note(shape: tuple[int, ...], dtype: str, **given: Any) -> Any:
        got.append(given)
        given["list"].append("changed")  # what is passed is a copy
        return np.zeros(shape, dtype)

    config = {"text": "fan_in", "braces": "{{k}}", "list": [1, "{k + 1}"], "map": {"a": None}}
    weights = {"p": {"note": config}, "q": {"note": config}}
    plan = plan_with({"note": note}, weights, params={"k": 3})
    write(plan, tmp_path / "w")
    expected = {"text": "fan_in", "braces": "{k}", "map": {"a": None}}
    assert got == 2 * [{**expected, "list": [1, 4, "changed"]}]
    recorded = {**expected, "braces": "{{k}}", "list": [1, 4]}
    assert plan.tensors[0].initializer_config()["config"] == recorded


@pytest.mark.parametrize(
    ("function", "config"),
    [
        (lambda shape: np.ones(shape, "f4"), {}),
        (lambda shape, dtype: np.ones(shape, dtype), {}),
        (lambda *arguments, **others: np.ones(*arguments, **others), {}),
        (lambda shape, /, *, dtype="f8", order: np.ones(shape, dtype, order), {"order": "F"}),
        (np.ones, {}),
        (np.full, {"fill_value": 1}),
        (type("Object", (), {"__call__": lambda self, shape, dtype: np.ones(shape, dtype)})(), {}),
    ],
)
def test_what_a_function_does_not_take_is_not_passed(
    function: Any, config: Any, tmp_path: Path
) -> None:
    got = values_with({"f": function}, {"k": {"f": config}}, tmp_path / "w")["k"]
    np.testing.assert_array_equal(got, np.ones((4, 3), "f4"), strict=True)


def test_functions_are_called_in_the_order_of_the_plan_on_any_number_of_threads(
    tmp_path: Path,
) -> None:
    """A generator of the module's own, and memory that is used again: both are at stake."""
    shapes = [(300, 1000), (7,), (2, 400, 1000), (1,), (1100, 1000)]
    weights = {f"w{i}": written("walk", shape) for i, shape in enumerate(shapes)}

    def files(folder: Path, jobs: int) -> dict[str, bytes]:
        generator = np.random.default_rng(1)
        memory = np.empty(1_200_000, "f4")

        def walk(shape: tuple[int, ...], dtype: str) -> Any:
            view = memory[: int(np.prod(shape))].reshape(shape)
            view[...] = generator.standard_normal(shape, "f4")
            return view

        write(plan_with({"walk": walk}, weights), folder, jobs=jobs)
        return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    one, many = files(tmp_path / "1", 1), files(tmp_path / "8", 8)
    assert one == many
    expected = np.random.default_rng(1)
    for i, shape in enumerate(shapes):
        values = np.load(tmp_path / "8" / "a" / f"w{i}.npy")
        np.testing.assert_array_equal(values, expected.standard_normal(shape, "f4"))


# --- seeds --------------------------------------------------------------------------------------


def seeds_given(objects: Any, initializer: Any, folder: Path, **top: Any) -> list[float]:
    weights = {name: written(initializer, (2,), dtype="int64") for name in ("k", "other")}
    return [int(x[0]) for x in values_with(objects, weights, folder, **top).values()]


@pytest.mark.parametrize(("objects", "name"), [({"f": seeded}, "f"), ({"C": Plain}, "C")])
def test_a_seed_of_the_tensors_own_is_offered(objects: Any, name: str, tmp_path: Path) -> None:
    first, other = seeds_given(objects, name, tmp_path / "1")
    assert first == SEED_OF_K != other
    assert seeds_given(objects, name, tmp_path / "2") == [first, other]
    assert first not in seeds_given(objects, name, tmp_path / "3", seed=8)


@pytest.mark.parametrize("config", [{"scale": 2}, {"scale": 2, "seed": None}])
def test_a_class_is_made_with_the_tensors_seed(config: Any, tmp_path: Path) -> None:
    got = values_with({"Scaled": Scaled}, {"k": {"Scaled": config}}, tmp_path / "w")["k"]
    expected = np.random.default_rng(SEED_OF_K).standard_normal((4, 3)) * 2
    np.testing.assert_array_equal(got, expected.astype("f4"))


def test_a_class_that_passes_what_it_does_not_know_to_its_parent_is_given_a_seed() -> None:
    class Child(Scaled):
        def __init__(self, **others: Any) -> None:
            super().__init__(3, **others)

    class Alone:
        def __init__(self, **others: Any) -> None:
            self.others = others

        def __call__(self, shape: Any, dtype: Any = None) -> Any: ...

    plan = plan_with({"Child": Child, "Alone": Alone}, {"k": "Child", "m": "Alone"})
    child, alone = (tensor.initializer_config()["config"] for tensor in plan.tensors)
    assert child["seed"] == SEED_OF_K
    assert alone == {}


def test_a_seed_in_the_config_wins(tmp_path: Path) -> None:
    assert seeds_given({"f": seeded}, {"f": {"seed": 5}}, tmp_path / "f") == [5, 5]

    class Both(Plain):
        def __init__(self, seed: int) -> None:
            super().__init__()

    assert seeds_given({"C": Both}, {"C": {"seed": 5}}, tmp_path / "c") == [5, 5]
    assert seeds_given({"C": Both}, {"C": {}}, tmp_path / "d")[0] == SEED_OF_K
    plan = plan_with({"Scaled": Scaled}, {"k": {"Scaled": {"scale": 1, "seed": 5}}})
    assert plan.tensors[0].initializer_config()["config"]["seed"] == 5
    # It selects nothing in kinit's own stream, and is no reason for a note.
    assert plan.tensors[0].stream_key == named_stream_key(7, "a/k")


# --- the config, to the file and back -----------------------------------------------------------


OBJECTS = {
    "ramp": ramp,
    "seeded": seeded,
    "Scaled": Scaled,
    "Plain": Plain,
    "ready": Scaled(3, seed=2),
}
WEIGHTS = {
    "k": {"Scaled": {"scale": "{d / 2}", "offsets": [1, 2]}},
    "step": {"ramp": {"step": 2}},
    "default": "ramp",
    "seeded": "seeded",
    "plain": {"Plain": {"factor": 2}},
    "ready": "ready",
    "again": {"ready": {"scale": 4, "seed": 1}},
    "own": "ones",
}


def test_the_file_records_every_argument(tmp_path: Path) -> None:
    write(plan_with(OBJECTS, WEIGHTS, params={"d": 3}), tmp_path / "w")
    manifest = json.loads((tmp_path / "w" / "kinit.json").read_text())
    seed = {name: framework_seed(named_stream_key(7, f"a/{name}")) for name in WEIGHTS}
    recorded = {path: record.get("initializer") for path, record in manifest["tensors"].items()}
    assert recorded == {
        f"a/{name}": class_name and {"class_name": class_name, "config": config}
        for name, class_name, config in [
            ("k", "Scaled", {"scale": 1.5, "offsets": [1, 2], "seed": seed["k"]}),
            ("step", "ramp", {"step": 2}),
            ("default", "ramp", {"step": 1.0}),
            ("seeded", "seeded", {"seed": seed["seeded"]}),
            ("plain", "Plain", {"factor": 2}),
            ("ready", "ready", {"scale": 3, "offsets": [], "seed": 2}),
            ("again", "ready", {"scale": 4, "offsets": [], "seed": 1}),
            ("own", None, None),
        ]
    }
    assert manifest["spec"]["layers"][0]["weights"]["k"]["initializer"] == WEIGHTS["k"]
    for tensor in plan_with(OBJECTS, WEIGHTS, params={"d": 3}).to_json()["tensors"]:
        if tensor["path"] != "a/own":
            assert tensor["initializer_config"] == recorded[tensor["path"]]


def test_what_is_recorded_makes_the_same_values_again(tmp_path: Path) -> None:
    """The config goes from the object to the file, and from there into a new object."""
    first = values_with(OBJECTS, WEIGHTS, tmp_path / "1", params={"d": 3})
    text = (tmp_path / "1" / "kinit.json").read_text()
    manifest = parse_manifest(text, "w")
    recorded = {
        name: manifest.tensors[f"a/{name}"].initializer or WEIGHTS[name] for name in WEIGHTS
    }
    again = values_with(OBJECTS, recorded, tmp_path / "2")
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values, strict=True)


def test_a_recorded_spec_is_generated_again_with_the_same_code(tmp_path: Path) -> None:
    first = write(plan_with(OBJECTS, WEIGHTS, params={"d": 3}), tmp_path / "1")
    manifest = parse_manifest((tmp_path / "1" / "kinit.json").read_text(), "w")
    plan = plan_of(manifest, "w", customs=CustomInitializers(objects=OBJECTS))
    second = write(plan, tmp_path / "2")
    assert [t.digest for t in second.tensors] == [t.digest for t in first.tensors]


def test_reading_a_file_needs_none_of_the_code(tmp_path: Path) -> None:
    first = write(plan_with(OBJECTS, WEIGHTS, params={"d": 3}), tmp_path / "w")
    summary = inspect_file(tmp_path / "w")
    assert summary.notes == ()
    shown = [tensor.initializer for tensor in summary.tensors]
    assert shown == [tensor.initializer for tensor in first.tensors]
    assert shown[:3] == ["Scaled(scale=1.5, offsets=[1, 2])", "ramp(step=2)", "ramp"]
    assert [t.recorded_digest for t in summary.tensors] == [t.digest for t in first.tensors]
    assert summary.tensors[0].expected_mean is None
    assert summary.tensors[-1].expected_mean == 1.0


def test_a_recorded_initializer_cannot_draw(tmp_path: Path) -> None:
    write(plan_with(OBJECTS, {"k": "ramp"}), tmp_path / "w")
    manifest = parse_manifest((tmp_path / "w" / "kinit.json").read_text(), "w")
    with pytest.raises(KinitError, match=r"a/k: initializer 'ramp': .*code .* is not at hand"):
        write(plan_of(manifest, "w"), tmp_path / "2")
    assert not (tmp_path / "2").exists()


@pytest.mark.parametrize("record", [5, {}, {"class_name": 1, "config": {}}, {"class_name": "x"}])
def test_a_damaged_record_is_noticed(record: Any, tmp_path: Path) -> None:
    write(plan_with(OBJECTS, {"k": "ramp"}), tmp_path / "w")
    manifest = json.loads((tmp_path / "w" / "kinit.json").read_text())
    manifest["tensors"]["a/k"]["initializer"] = record
    with pytest.raises(KinitError, match="its kinit manifest is damaged"):
        parse_manifest(json.dumps(manifest), "w")
