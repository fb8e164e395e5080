"""What is worth knowing of a plan though nothing in it is wrong: rules, each with its reason.

A kernel of fan_in inputs whose weights have the variance v multiplies the variance of what passes
forwards by fan_in v, and of gradients that pass backwards by fan_out v, if inputs and weights are
independent and about 0 (LeCun et al., 1998; Glorot and Bengio, 2010; He et al., 2015). Over many
layers only factors near 1 (linear, tanh), or near 2 where a ReLU then halves it, neither explode
nor vanish.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from kinit_cli.draw import Called, expected_moments, value_bounds
from kinit_cli.initializers.fans import compute_fans
from kinit_cli.plan import Plan, TensorPlan

#: Factors that a kernel should multiply variances by: linear or tanh, and before a ReLU.
RECOMMENDED_GAINS = (1.0, 2.0)
#: Ten times the one; a hundredth of the other, as models with residual branches scale those down.
HIGHEST_GAIN, LOWEST_GAIN = 20.0, 0.01
#: Values that a dtype should have within two standard deviations.
FEWEST_LEVELS = 64
#: Weights that are not multiplied with inputs, by the last part of their names.
_NOT_KERNELS = frozenset(
    {"bias", "beta", "gamma", "scale", "moving_mean", "moving_variance", "mean", "variance"}
)
_EMBEDDING = "embed"

Rule: TypeAlias = Literal[
    "constant-kernel",
    "exploding",
    "vanishing",
    "shared-seed",
    "no-seed",
    "few-values",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One remark: about which tensor, what it is, why it matters, what to do.

    Attributes
    ----------
    tensor : str or None
        Its path; None if it is about the whole spec.
    """

    rule: Rule
    tensor: str | None
    message: str
    reason: str
    hint: str

    def to_json(self) -> dict[str, str | None]:
        """Give plain data with stable keys."""
        return {
            "rule": self.rule,
            "tensor": self.tensor,
            "message": self.message,
            "reason": self.reason,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        where = f"{self.tensor}: " if self.tensor is not None else ""
        return f"{where}{self.message}; {self.reason}; {self.hint} [{self.rule}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelGain:
    """What a kernel multiplies variances by.

    Attributes
    ----------
    forward, backward : float
        fan_in Var(W) and fan_out Var(W).
    """

    tensor: str
    fan_in: int
    fan_out: int
    forward: float
    backward: float

    def to_json(self) -> dict[str, Any]:
        """Give plain data with stable keys; no infinity, but null."""
        return {
            "tensor": self.tensor,
            "fan_in": self.fan_in,
            "fan_out": self.fan_out,
            "forward": self.forward if math.isfinite(self.forward) else None,
            "backward": self.backward if math.isfinite(self.backward) else None,
        }


def advise(plan: Plan) -> list[Advice]:
    """Give all advice on a plan: on the whole first, then in the order of the tensors."""
    advice = [*_no_seed(plan), *_shared_seeds(plan)]
    gains = {gain.tensor: gain for gain in kernel_gains(plan)}
    output = _output_kernel(plan)
    for tensor in plan.tensors:
        gain = gains.get(tensor.path)
        advice += _constant_kernel(tensor, plan, is_output=tensor.path == output)
        advice += _scale(gain, tensor) if gain else ()
        advice += _few_values(tensor)
    return advice


def kernel_gains(plan: Plan) -> list[KernelGain]:
    """Give the gains of every kernel whose elements' variance is known and not 0."""
    gains = []
    for tensor in plan.tensors:
        moments = expected_moments(tensor.draw, tensor.shape)
        if _is_kernel(tensor) and moments is not None and moments.stddev:
            fan_in, fan_out = _fans(tensor, plan)
            variance = moments.stddev * moments.stddev
            gains.append(
                KernelGain(
                    tensor=tensor.path,
                    fan_in=fan_in,
                    fan_out=fan_out,
                    forward=fan_in * variance,
                    backward=fan_out * variance,
                )
            )
    return gains


def _is_kernel(tensor: TensorPlan) -> bool:
    """Tell whether inputs are multiplied with this weight, as far as name and shape tell."""
    name = tensor.weight.rsplit("/", 1)[-1]
    return (
        len(tensor.shape) >= 2
        and tensor.n_elements > 0
        and tensor.dtype.kind == "float"
        and name not in _NOT_KERNELS
        and not name.endswith("token")
        and _EMBEDDING not in tensor.path.lower()
    )


def _output_kernel(plan: Plan) -> str | None:
    """Give the path of the last kernel of several, as a rule that of the model's outputs."""
    kernels = [tensor.path for tensor in plan.tensors if _is_kernel(tensor)]
    return kernels[-1] if len(kernels) > 1 else None


def _fans(tensor: TensorPlan, plan: Plan) -> tuple[int, int]:
    args = tensor.initializer.args
    return compute_fans(
        tensor.shape,
        layout=plan.document.get("layout", "keras"),
        input_axes=args.get("input_axes"),
        output_axes=args.get("output_axes"),
    )


# --- rules for the whole --------------------------------------------------------------------


def _no_seed(plan: Plan) -> Iterator[Advice]:
    is_needed = any(t.is_random and t.initializer.seed is None for t in plan.tensors)
    if plan.is_seed_drawn and is_needed:
        yield Advice(
            rule="no-seed",
            tensor=None,
            message="the spec has no seed",
            reason="each run draws another, so that no two runs give the same values",
            hint="give it one: `seed: 42`, or --seed",
        )


def _shared_seeds(plan: Plan) -> Iterator[Advice]:
    groups: dict[tuple[int, type], list[str]] = defaultdict(list)
    for tensor in plan.tensors:
        seed = tensor.initializer.seed
        if seed is not None and tensor.is_random and not isinstance(tensor.draw, Called):
            groups[seed, type(tensor.draw)].append(tensor.path)
    for (seed, _), paths in groups.items():
        if len(paths) > 1:
            shown = ", ".join(paths[1:4]) + (f" and {len(paths) - 4} more" if paths[4:] else "")
            yield Advice(
                rule="shared-seed",
                tensor=paths[0],
                message=f"its initializer has the seed {seed}, as that of {shown}",
                reason="they draw the same numbers, so their values are equal or proportional",
                hint="without it each tensor has its own, made of the spec's seed and its path",
            )


# --- rules for a tensor ---------------------------------------------------------------------


def _constant_kernel(tensor: TensorPlan, plan: Plan, *, is_output: bool) -> Iterator[Advice]:
    lowest, highest = value_bounds(tensor.draw)
    if lowest != highest or not _is_kernel(tensor) or _fans(tensor, plan)[1] < 2:
        return
    # Outputs have targets of their own, which part them: many models begin with heads of zeros.
    if is_output and lowest == 0:
        return
    yield Advice(
        rule="constant-kernel",
        tensor=tensor.path,
        message=f"every element is {lowest:.6g}",
        reason=(
            "its outputs begin equal, and pass the same gradient back to every unit"
            if is_output
            else "its units compute the same, get the same gradient, and so stay the same"
        ),
        hint="draw it at random, as glorot_uniform and he_normal do",
    )


def _scale(gain: KernelGain, tensor: TensorPlan) -> Iterator[Advice]:
    figures = f"fan_in Var(W) = {gain.forward:.3g} and fan_out Var(W) = {gain.backward:.3g}"
    hint = "1 suits linear layers and tanh (glorot_uniform), 2 suits ReLU (he_normal)"
    if not gain.forward <= HIGHEST_GAIN:
        yield Advice(
            rule="exploding",
            tensor=gain.tensor,
            message=figures,
            reason=f"activations grow: their variance by a factor of {gain.forward:.3g}",
            hint=hint,
        )
    elif max(gain.forward, gain.backward) < LOWEST_GAIN and not _has_mean(gain, tensor):
        yield Advice(
            rule="vanishing",
            tensor=gain.tensor,
            message=figures,
            reason="activations and gradients all but vanish, unless a residual path carries them",
            hint=hint,
        )


def _has_mean(gain: KernelGain, tensor: TensorPlan) -> bool:
    """Tell whether the kernel's mean carries signals that its variance alone would not."""
    moments = expected_moments(tensor.draw, tensor.shape)
    if moments is None:
        return False
    return max(gain.fan_in, gain.fan_out) * moments.mean**2 >= LOWEST_GAIN


def _few_values(tensor: TensorPlan) -> Iterator[Advice]:
    moments = expected_moments(tensor.draw, tensor.shape)
    if moments is None or not moments.stddev or not tensor.is_random:
        return
    from kinit_cli.statistics.rounding import count_levels

    lowest, highest = value_bounds(tensor.draw)
    n_levels = count_levels(
        max(lowest, moments.mean - 2 * moments.stddev),
        min(highest, moments.mean + 2 * moments.stddev),
        tensor.dtype.name,
    )
    if n_levels < FEWEST_LEVELS:
        yield Advice(
            rule="few-values",
            tensor=tensor.path,
            message=(
                f"{tensor.dtype.name} has {n_levels} value{'' if n_levels == 1 else 's'} within "
                f"two standard deviations of {moments.stddev:.3g} about {moments.mean:.3g}"
            ),
            reason="many elements are equal, and their spread is not quite the one asked for",
            hint="choose a wider dtype, a mean nearer to 0 or a larger spread",
        )
