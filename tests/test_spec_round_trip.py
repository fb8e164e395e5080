"""A spec means the same as JSON, as YAML, as plain data, and as an output records it."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from spec_texts import plan_of

from kinit_cli.manifest import manifest_text, parse_manifest
from kinit_cli.manifest import plan_of as plan_of_manifest
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import check_spec
from kinit_cli.spec.problems import ProblemList, SourceMap

PARAMS = {"d": 6, "n": "d // 2", "std": 0.5}
LETTERS = st.text(st.characters(categories=["L", "N", "S", "Zs"]), max_size=4)
#: All characters but those that the writer of YAML here leaves without the quotes they need.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="?\x85\u2028\u2029"))
DIMENSIONS = st.integers(0, 9) | st.sampled_from(["d", "2*n", "d % 4 + 1", "floor(d / 4)", 3.0])
NUMBERS = (
    st.integers(-100, 100)
    | st.floats(-1e4, 1e4)
    | st.sampled_from([1e-7, 5e-324, 6e4, "std", "1 / d", "-n", "sqrt(2 * n)"])
)
SEEDS = st.integers(0, 2**64 - 1)
FLOAT_DTYPES = st.sampled_from(["float16", "bfloat16", "float32", "float64"])

STDDEV = st.floats(0, 10) | st.sampled_from(["std", "0.02 / sqrt(2 * n)"])
NORMAL = st.fixed_dictionaries({}, optional={"mean": NUMBERS, "stddev": STDDEV, "seed": SEEDS})
UNIFORM = st.fixed_dictionaries(
    {"minval": st.integers(-9, 0), "maxval": st.integers(1, 9)}, optional={"seed": SEEDS}
)
SCALING = st.fixed_dictionaries(
    {},
    optional={
        "scale": st.floats(0.01, 10),
        "mode": st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
        "distribution": st.sampled_from(["uniform", "untruncated_normal", "truncated_normal"]),
        "seed": st.none() | SEEDS,
    },
)
CONSTANT = st.fixed_dictionaries({"value": NUMBERS | st.booleans()})
ARGUMENTS = {
    ("RandomNormal", "random_normal", "normal"): NORMAL,
    ("TruncatedNormal", "truncated_normal"): NORMAL,
    ("RandomUniform", "random_uniform", "uniform"): UNIFORM,
    ("VarianceScaling", "variance_scaling"): SCALING,
    ("Constant", "constant"): CONSTANT,
    ("HeNormal", "he_normal", "GlorotUniform", "Zeros", "one"): st.just({}),
}


@st.composite
def initializers(draw: st.DrawFn) -> Any:
    names = draw(st.sampled_from(list(ARGUMENTS)))
    name, config = draw(st.sampled_from(names)), draw(ARGUMENTS[names])
    forms = [
        {name: config},
        {"class_name": name, "config": config},
        {"module": "keras.initializers", "class_name": name, "config": config},
    ]
    return draw(st.sampled_from([*forms, name] if not config else forms))


SHAPES = st.lists(DIMENSIONS, max_size=3)
WHOLE_WEIGHTS = st.fixed_dictionaries(
    {
        "shape": SHAPES,
        "dtype": st.sampled_from(["int32", "uint8"]),
        "initializer": st.sampled_from(["zeros", {"constant": {"value": 7}}]),
    }
)
FLOAT_WEIGHTS = st.fixed_dictionaries(
    {"shape": SHAPES}, optional={"initializer": initializers(), "dtype": FLOAT_DTYPES}
)


@st.composite
def layers(draw: st.DrawFn, depth: int = 0, indices: tuple[str, ...] = ()) -> list[Any]:
    result: list[Any] = []
    for position in range(draw(st.integers(0 if indices else 1, 3))):
        if depth < 2 and draw(st.booleans()):
            index = "ijk"[depth]
            inner = draw(layers(depth=depth + 1, indices=(*indices, index)))
            count = draw(st.integers(0, 3))
            result.append({"repeat": count, "index": index, "layers": inner})
        else:
            # The indices of all repeats are in the name, so no two layers share one.
            suffix = "".join(f"_{{{index}}}" for index in indices)
            name = f"{depth}.{position}{draw(LETTERS)}/r{suffix}"
            weights = {
                f"{letter}{draw(LETTERS)}": draw(FLOAT_WEIGHTS | WHOLE_WEIGHTS)
                for letter in "wv"[: draw(st.integers(1, 2))]
            }
            result.append({"name": name, "weights": weights})
    return result


SPECS = st.fixed_dictionaries(
    {"seed": SEEDS, "params": st.just(PARAMS), "layers": layers()},
    optional={
        "kinit": st.just(1),
        "name": st.none() | TEXTS,
        "dtype": FLOAT_DTYPES,
        "layout": st.sampled_from(["keras", "torch"]),
        "defaults": st.dictionaries(st.sampled_from(["w", "v", "x"]), initializers()),
    },
)


def unique(spec: dict[str, Any]) -> bool:
    """Tell whether no two layers at one place have the same name, and there is a weight."""
    return 0 < n_weights(spec["layers"]) == len(set(iter_paths(spec["layers"], "")))


def n_weights(items: list[Any]) -> int:
    return sum(
        item["repeat"] * n_weights(item["layers"]) if "repeat" in item else len(item["weights"])
        for item in items
    )


def iter_paths(items: list[Any], round_name: str) -> Any:
    for item in items:
        if "repeat" in item:
            for number in range(item["repeat"]):
                yield from iter_paths(item["layers"], f"{round_name}_{number}")
        else:
            yield from (f"{item['name']}{round_name}/{weight}" for weight in item["weights"])


SOUND_SPECS = SPECS.filter(unique)


def yaml_text(data: Any, *, is_flow: bool) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = is_flow
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    yaml.dump(data, stream)
    return "# YAML\n" + stream.getvalue()


def plan_of_data(data: Any) -> Plan:
    return make_plan(check_spec(data, ProblemList(SourceMap(source="data"))))


@given(SOUND_SPECS, st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_a_spec_is_the_same_as_json_and_as_yaml(
    spec: dict[str, Any], is_plain: bool, indent: int | str | None
) -> None:
    plan = plan_of_data(spec)
    event(f"{min(len(plan.tensors), 10)} tensors")
    assert len(plan.tensors) == n_weights(spec["layers"])
    assert plan.document == spec
    assert plan_of(json.dumps(spec, ensure_ascii=is_plain, indent=indent), "a.json") == plan
    assert plan_of(yaml_text(spec, is_flow=is_plain), "a.yaml") == plan


@given(SOUND_SPECS, st.booleans())
def test_what_a_plan_records_gives_the_same_plan(spec: dict[str, Any], is_seeded: bool) -> None:
    if not is_seeded:
        del spec["seed"]
    plan = plan_of_data(spec)
    assert plan.is_seed_drawn is not is_seeded
    again = plan_of_data(json.loads(json.dumps(plan.document)))
    assert again.is_seed_drawn is False
    assert (again.seed, again.tensors, again.notes) == (plan.seed, plan.tensors, plan.notes)
    assert again.document == plan.document == {**spec, "seed": plan.seed}


@given(SOUND_SPECS)
def test_a_manifest_gives_the_same_plan(spec: dict[str, Any]) -> None:
    plan = plan_of_data(spec)
    text = manifest_text(plan, {tensor.path: "0" * 64 for tensor in plan.tensors})
    again = plan_of_manifest(parse_manifest(text, "file"), "file")
    assert {tensor.path: tensor for tensor in again.tensors} == {
        tensor.path: tensor for tensor in plan.tensors
    }
    assert again.seed == plan.seed


def test_a_manifest_of_few_tensors_may_repeat_often() -> None:
    repeat = {"repeat": 100, "layers": [{"repeat": 10, "index": "j", "layers": []}]}
    spec = {"seed": 1, "layers": [repeat, {"name": "a", "weights": {"k": {"shape": [1]}}}]}
    plan = plan_of_data(spec)
    text = manifest_text(plan, {"a/k": "0" * 64})
    assert plan_of_manifest(parse_manifest(text, "file"), "file").tensors == plan.tensors


def test_the_generated_specs_cover_the_language() -> None:
    """Hold the strategy to its promise: a filter could silently leave only small specs."""
    seen: set[str] = set()

    @settings(database=None, derandomize=True, max_examples=200)
    @given(SOUND_SPECS)
    def collect(spec: dict[str, Any]) -> None:
        plan = plan_of_data(spec)
        seen.update(type(tensor.draw).__name__ for tensor in plan.tensors)
        seen.update(tensor.dtype.name for tensor in plan.tensors)
        seen.update(f"rank {len(tensor.shape)}" for tensor in plan.tensors)
        seen.update(str(part) for part in (spec.get("layout"), "repeat" in str(spec["layers"])))

    collect()
    assert seen >= {
        "Normal", "TruncatedNormal", "Uniform", "Constant", "float16", "bfloat16", "float32",
        "float64", "int32", "rank 0", "rank 3", "torch", "keras", "True", "False",
    }  # fmt: skip
