"""What a file says about itself: the spec, the seed, the stream version, a digest per tensor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinit_cli.draw import Draw, expected_moments
from kinit_cli.errors import WeightsFileError
from kinit_cli.origin import Origin, parse_origin
from kinit_cli.plan import Plan, TensorPlan, make_plan
from kinit_cli.spec.load import check_spec
from kinit_cli.spec.problems import ProblemList, SourceMap
from kinit_cli.stream import STREAM_VERSION

#: Version of the manifest's own structure.
MANIFEST_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRecord:
    """What a manifest says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest that has been read and whose structure is sound.

    Attributes
    ----------
    stream : int or None
        Version of the value stream; None if the values are those of `origin`.
    """

    stream: int | None
    seed: int
    spec: Mapping[str, Any]
    tensors: Mapping[str, TensorRecord]
    origin: Origin | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a manifest lets one expect of a tensor."""

    shape: tuple[int, ...]
    dtype: str
    initializer: str
    mean: float | None
    stddev: float | None
    digest: str | None
    draw: Draw


def manifest_text(plan: Plan, digests: Mapping[str, str]) -> str:
    """Write the manifest of a plan as JSON: no clock, host or path in it.

    Keys keep the order of the spec, in which params and weights have a meaning.

    Parameters
    ----------
    digests : mapping of str to str
        64 hex digits for each tensor path.
    """
    origin = {"origin": plan.origin.to_json()} if plan.origin else {}
    manifest = {
        "kinit": MANIFEST_VERSION,
        "stream": None if plan.origin else STREAM_VERSION,
        **origin,
        "seed": plan.seed,
        "spec": plan.document,
        "tensors": {
            tensor.path: {
                "dtype": tensor.dtype.name,
                "shape": list(tensor.shape),
                "digest": digests[tensor.path],
            }
            for tensor in plan.tensors
        },
    }
    return json.dumps(manifest, ensure_ascii=False, separators=(",", ":"))


def parse_manifest(text: str, source: str) -> Manifest:
    """Read a manifest; nothing in it is believed before its type is checked.

    Raises
    ------
    WeightsFileError
        It is not a manifest, or one of a newer version.
    """
    try:
        raw = json.loads(text)
        if raw["kinit"] != MANIFEST_VERSION:
            raise WeightsFileError(
                f"{source}: expected a manifest of version {MANIFEST_VERSION}, "
                f"got {raw['kinit']!r}; a newer kinit may read it"
            )
        return Manifest(
            stream=None if raw["stream"] is None else _whole(raw["stream"]),
            seed=_whole(raw["seed"]),
            spec=dict(raw["spec"]),
            tensors={str(path): _record(record) for path, record in raw["tensors"].items()},
            origin=parse_origin(raw["origin"]) if "origin" in raw else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsFileError(f"{source}: its kinit manifest is damaged ({error})") from error


def plan_of(manifest: Manifest, source: str) -> Plan:
    """Plan the spec that a manifest records, as for generating it again.

    Raises
    ------
    SpecError
        The recorded spec is not sound.
    """
    problems = ProblemList(SourceMap(source=f"{source} (its recorded spec)"))
    spec = check_spec({**manifest.spec, "seed": manifest.seed}, problems)
    # A few bytes of a spec can ask for a million tensors; the file must have that many, too.
    return make_plan(spec, max_tensors=len(manifest.tensors))


def expectations(manifest: Manifest, source: str) -> dict[str, Expectation]:
    """Say, for each tensor that a manifest records, what its elements should be like."""
    plan = plan_of(manifest, source)
    return {tensor.path: _expectation(tensor, manifest) for tensor in plan.tensors}


def _expectation(tensor: TensorPlan, manifest: Manifest) -> Expectation:
    moments = expected_moments(tensor.draw, tensor.shape)
    record = manifest.tensors.get(tensor.path)
    return Expectation(
        shape=tensor.shape,
        dtype=tensor.dtype.name,
        initializer=str(tensor.initializer),
        mean=moments.mean if moments else None,
        stddev=moments.stddev if moments else None,
        digest=None if record is None else record.digest,
        draw=tensor.draw,
    )


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**64:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _record(raw: Mapping[str, Any]) -> TensorRecord:
    shape = tuple(_whole(size) for size in raw["shape"])
    digest = str(raw["digest"])
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f"{digest[:80]!r} is no digest")
    return TensorRecord(dtype=str(raw["dtype"]), shape=shape, digest=digest)
