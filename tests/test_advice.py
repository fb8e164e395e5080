"""`kinit check`: the problems that generate finds, and advice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from kinit_cli.advice import Advice, advise, kernel_gains
from kinit_cli.cli.main import run
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import parse_spec

SAMPLES = sorted((Path(__file__).parents[1] / "sample_configs").glob("*.yaml"))


def plan_of(weights: str, head: str = "seed: 1") -> Plan:
    text = f"{head}\nlayers:\n  - name: a\n    weights: {{{weights}}}\n"
    return make_plan(parse_spec(text.encode(), "spec.yaml"))


def rules(weights: str, head: str = "seed: 1") -> list[tuple[str, str | None]]:
    return [(advice.rule, advice.tensor) for advice in advise(plan_of(weights, head))]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_samples_need_no_advice(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(path), "--strict"]) == 0
    assert capsys.readouterr().out == f"{path}: no problems, no advice\n"


CONSTANT = [("constant-kernel", "a/kernel")]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("kernel: {shape: [4, 3], initializer: zeros}", CONSTANT),
        ("kernel: {shape: [4, 3], initializer: ones}", CONSTANT),
        ("kernel: {shape: [4, 3], initializer: {constant: {value: 0.1}}}", CONSTANT),
        ("kernel: {shape: [4, 3], initializer: {constant: {value: [2, 2, 2]}}}", CONSTANT),
        ("kernel: {shape: [4, 3], initializer: {random_normal: {stddev: 0}}}", CONSTANT),
        ("kernel: {shape: [3, 3, 4, 3], initializer: zeros}", CONSTANT),
        # What is not a kernel, has one output, or differs from unit to unit.
        ("kernel: {shape: [4, 3], initializer: {constant: {value: [1, 2, 3]}}}", []),
        ("kernel: {shape: [4, 3], initializer: identity}", []),
        ("kernel: {shape: [4, 1], initializer: zeros}", []),
        ("kernel: {shape: [4], initializer: zeros}", []),
        ("bias: {shape: [2, 3]}", []),
        ("embeddings: {shape: [20, 3], initializer: zeros}", []),
        ("kernel: {shape: [4, 3], initializer: zeros, dtype: int32}", []),
        ("kernel: {shape: [0, 3], initializer: zeros}", []),
    ],
)
def test_constant_kernels(weights: str, expected: list[tuple[str, str]]) -> None:
    assert rules(weights) == expected


def test_of_the_last_kernel_another_reason_is_given() -> None:
    first = "kernel: {shape: [4, 4], initializer: ones}"
    last = "out: {shape: [4, 3], initializer: ones}, bias: {shape: [3]}"
    one, other = advise(plan_of(f"{first}, {last}"))
    assert [(one.tensor, one.rule), (other.tensor, other.rule)] == [
        ("a/kernel", "constant-kernel"), ("a/out", "constant-kernel"),
    ]  # fmt: skip
    assert one.reason == "its units compute the same, get the same gradient, and so stay the same"
    assert other.reason == "its outputs begin equal, and pass the same gradient back to every unit"


def test_a_head_of_zeros_is_common() -> None:
    # Each output has a target of its own, and so a gradient of its own.
    head = "out: {shape: [4, 3], initializer: zeros}, bias: {shape: [3]}"
    assert rules("kernel: {shape: [4, 4], initializer: he_normal}, " + head) == []
    assert rules("kernel: {shape: [4, 4], initializer: ones}, " + head) == CONSTANT


def test_a_token_is_no_kernel() -> None:
    assert rules("class_token: {shape: [1, 1, 8], initializer: zeros}") == []


def test_the_outputs_are_those_of_the_layout() -> None:
    weights = "kernel: {shape: [1, 4], initializer: zeros}"
    assert rules(weights) == CONSTANT
    assert rules(weights, "seed: 1\nlayout: torch") == []


@pytest.mark.parametrize(
    ("stddev", "expected"),
    [
        # fan_in Var(W) = 400 stddev^2: the limits are 20 and 0.01.
        (0.2235, []),
        (0.2237, [("exploding", "a/kernel")]),
        (0.00501, []),
        (0.00499, [("vanishing", "a/kernel")]),
    ],
)
def test_scale(stddev: float, expected: list[tuple[str, str]]) -> None:
    shape = "[400, 100]"
    kernel = f"{{shape: {shape}, initializer: {{random_normal: {{stddev: {stddev}}}}}}}"
    assert rules(f"kernel: {kernel}") == expected
    assert rules(f"embeddings: {kernel}") == []


def test_signals_that_a_mean_carries_do_not_vanish() -> None:
    # 400 mean^2: the limit is 0.01.
    kernel = (
        "kernel: {{shape: [400, 100], initializer: {{random_normal: {{mean: {}, stddev: 1e-4}}}}}}"
    )
    assert rules(kernel.format(0.0051)) == []
    assert rules(kernel.format(-0.0049)) == [("vanishing", "a/kernel")]


def test_a_single_value_is_one() -> None:
    weights = "w: {shape: [4], dtype: float16, initializer: {random_normal: {stddev: 1e-9}}}"
    (advice,) = advise(plan_of(weights))
    assert advice.message == "float16 has 1 value within two standard deviations of 1e-09 about 0"


@pytest.mark.parametrize("name", ["glorot_uniform", "he_normal", "lecun_uniform", "orthogonal"])
@pytest.mark.parametrize("shape", [[1, 1000], [1000, 1], [3, 3, 64, 2], [10, 10]])
def test_scaled_initializers_are_never_advised_against(name: str, shape: list[int]) -> None:
    assert rules(f"kernel: {{shape: {shape}, initializer: {name}}}") == []


def test_gains_are_fan_times_variance() -> None:
    plan = plan_of(
        "kernel: {shape: [3, 3, 64, 128], initializer: he_normal}, "
        "recurrent_kernel: {shape: [30, 40], initializer: {orthogonal: {gain: 2}}}, "
        "heads: {shape: [512, 8, 64], initializer: "
        "{glorot_normal: {input_axes: [0], output_axes: [1, 2]}}}, "
        "bias: {shape: [3]}, embeddings: {shape: [5, 6]}"
    )
    found = {
        gain.tensor: (gain.fan_in, gain.fan_out, gain.forward, gain.backward)
        for gain in kernel_gains(plan)
    }
    assert found == {
        "a/kernel": (576, 1152, pytest.approx(2.0), pytest.approx(4.0)),
        "a/recurrent_kernel": (30, 40, pytest.approx(4 * 30 / 40), pytest.approx(4.0)),
        "a/heads": (512, 512, pytest.approx(1.0), pytest.approx(1.0)),
    }


@pytest.mark.parametrize(
    ("first", "second", "is_shared"),
    [
        ("he_normal: {seed: 3}", "he_normal: {seed: 3}", True),
        ("he_normal: {seed: 3}", "truncated_normal: {seed: 3}", True),
        ("he_normal: {seed: 3}", "he_normal: {seed: 4}", False),
        ("he_normal: {seed: 3}", "he_uniform: {seed: 3}", False),
        ("he_normal: {}", "he_normal: {}", False),
    ],
)
def test_shared_seeds(first: str, second: str, is_shared: bool) -> None:
    weights = (
        f"kernel: {{shape: [40, 30], initializer: {{{first}}}}}, "
        f"other: {{shape: [20, 30], initializer: {{{second}}}}}"
    )
    assert rules(weights) == ([("shared-seed", "a/kernel")] if is_shared else [])


def test_a_seed_that_is_missing() -> None:
    assert rules("kernel: {shape: [4, 3]}", "name: x") == [("no-seed", None)]
    assert rules("bias: {shape: [4]}", "name: x") == []
    assert rules("kernel: {shape: [4, 3], initializer: {he_normal: {seed: 1}}}", "name: x") == []


@pytest.mark.parametrize(
    ("dtype", "arguments", "n_values"),
    [
        # From 0.96 to 1.04: 0.04 / 2^-8 below 1 and 0.04 / 2^-7 above.
        ("bfloat16", "mean: 1, stddev: 0.02", 10 + 5 + 1),
        ("float16", "mean: 1, stddev: 0.02", None),
        ("bfloat16", "mean: 0, stddev: 0.02", None),
        ("float32", "mean: 1, stddev: 0.000001", 34 + 17 + 1),
        ("float32", "mean: 1, stddev: 0.02", None),
    ],
)
def test_few_values(dtype: str, arguments: str, n_values: int | None) -> None:
    weights = f"w: {{shape: [40], dtype: {dtype}, initializer: {{random_normal: {{{arguments}}}}}}}"
    advice = advise(plan_of(weights))
    assert [one.rule for one in advice] == ([] if n_values is None else ["few-values"])
    for one in advice:
        mean, stddev = (float(part.split(":")[1]) for part in arguments.split(","))
        assert one.message == (
            f"{dtype} has {n_values} values within two standard deviations of {stddev:.3g} "
            f"about {mean:.3g}"
        )


def test_advice_is_a_whole_sentence() -> None:
    (advice,) = advise(plan_of("kernel: {shape: [4, 3], initializer: zeros}"))
    assert str(advice) == (
        "a/kernel: every element is 0; its units compute the same, get the same gradient, and so "
        "stay the same; draw it at random, as glorot_uniform and he_normal do [constant-kernel]"
    )
    assert isinstance(advice, Advice)


def test_a_variance_beyond_float64_is_infinite() -> None:
    arguments = "{orthogonal: {gain: 1.0e+300}}"
    plan = plan_of(f"kernel: {{shape: [4, 3], dtype: float64, initializer: {arguments}}}")
    (gain,) = kernel_gains(plan)
    assert gain.forward == math.inf
    assert gain.to_json()["forward"] is None
    assert [advice.rule for advice in advise(plan)] == ["exploding"]


# --- the command ----------------------------------------------------------------------------

SPEC = """\
layers:
  - name: a
    weights:
      kernel: {shape: [4, 3], initializer: zeros}
      other: {shape: [4, 3]}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(SPEC, encoding="utf-8")
    return "spec.yaml"


def test_advice_alone_is_no_failure_unless_strict(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", spec]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert [line.rpartition("[")[2] for line in shown.out.splitlines()] == [
        "no-seed]",
        "constant-kernel]",
        "spec.yaml: no problems, 2 pieces of advice",
    ]
    assert run(["check", spec, "--strict"]) == 1
    assert run(["check", spec, "--seed", "1"]) == 0
    assert "1 piece of advice" in capsys.readouterr().out
    assert run(["check", spec, "--strict", "--quiet"]) == 1
    assert capsys.readouterr().out == ""


def test_problems_are_those_of_generate(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(spec).write_text(SPEC.replace("zeros", "zeroes").replace("[4, 3]}", "[n]}"), "utf-8")
    assert run(["generate", spec, "-o", "w.h5"]) == 2
    lines = capsys.readouterr().err.splitlines()[:-1]
    assert len(lines) == 2
    for options in ([], ["--strict"], ["--quiet"]):
        assert run(["check", spec, *options]) == 1
        shown = capsys.readouterr()
        assert shown.out.splitlines() == [*lines, "spec.yaml: 2 problems"]
        assert shown.err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "w.npy"], "one tensor"),
        (["-o", "w/", "--dtype", "bfloat16"], "bfloat16"),
        (["--format", "npy", "--dtype", "bfloat16"], "bfloat16"),
        (["-o", "w.txt"], "expected a name that ends in"),
        (["-o", "w.h5", "--dtype", "bfloat16"], None),
        (["--format", "hdf5"], None),
    ],
)
def test_what_an_output_cannot_hold_is_a_problem(
    spec: str, options: list[str], message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["check", spec, *options, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == (0 if message is None else 1)
    assert document["is_sound"] is (message is None)
    assert (message or "") in " ".join(document["output_faults"])
    assert len(document["advice"]) == 2
    assert not list(Path().glob("w*"))


def test_a_spec_that_cannot_be_read_is_an_error(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "absent.yaml", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "error"
