"""What a file says about itself: the spec, the seed, the stream version, a digest per tensor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinit_cli.draw import Draw, expected_moments
from kinit_cli.errors import WeightsFileError
from kinit_cli.explicit import explicit_plan
from kinit_cli.formats.json_file import check_size
from kinit_cli.initializers.base import Customs
from kinit_cli.initializers.custom import RecordedInitializers
from kinit_cli.origin import Origin, parse_origin
from kinit_cli.plan import Plan, TensorPlan
from kinit_cli.planner import make_plan
from kinit_cli.spec.load import check_spec
from kinit_cli.spec.problems import ProblemList, SourceMap
from kinit_cli.stream import STREAM_VERSION

#: Version of the manifest's own structure.
MANIFEST_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRecord:
    """What a manifest says of one tensor.

    Attributes
    ----------
    name : str or None
        What the file calls it, if not by its path.
    initializer : mapping or None
        `class_name` and `config` of a custom initializer, with all its arguments.
    """

    dtype: str
    shape: tuple[int, ...]
    digest: str
    name: str | None = None
    initializer: Mapping[str, Any] | None = None


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


def manifest_text(
    plan: Plan, digests: Mapping[str, str], names: Mapping[str, str] | None = None
) -> str:
    """Write the manifest of a plan as JSON: no clock, host or path in it.

    Keys keep the order of the spec, in which params and weights have a meaning.

    Parameters
    ----------
    digests : mapping of str to str
        64 hex digits for each tensor path.
    names : mapping of str to str, optional
        By path, what the file calls tensors that it does not store under their path.
    """
    names = names or {}
    origin = {"origin": plan.origin.to_json()} if plan.origin else {}
    manifest = {
        "kinit": MANIFEST_VERSION,
        "stream": None if plan.origin else STREAM_VERSION,
        **origin,
        "seed": plan.seed,
        "spec": plan.document,
        "tensors": {
            tensor.path: _tensor_json(tensor, digests[tensor.path], names.get(tensor.path))
            for tensor in plan.tensors
        },
    }
    return json.dumps(manifest, ensure_ascii=False, separators=(",", ":"))


def blank_manifest_text(plan: Plan, names: Mapping[str, str]) -> str:
    """Write a manifest as long as the plan's will be, before the digests are known."""
    return manifest_text(plan, {tensor.path: "0" * 64 for tensor in plan.tensors}, names)


def parse_manifest(text: str, source: str) -> Manifest:
    """Read a manifest; nothing in it is believed before its type is checked.

    Raises
    ------
    WeightsFileError
        It is not a manifest, or one of a newer version.
    """
    try:
        check_size(text)
        raw = json.loads(text)
        if raw["kinit"] != MANIFEST_VERSION:
            raise WeightsFileError(
                f"{source}: expected a manifest of version {MANIFEST_VERSION}, "
                f"got {shown(raw['kinit'])}; a newer kinit may read it"
            )
        return Manifest(
            stream=None if raw["stream"] is None else parse_whole(raw["stream"]),
            seed=parse_whole(raw["seed"]),
            spec=dict(raw["spec"]),
            tensors={str(path): parse_record(record) for path, record in raw["tensors"].items()},
            origin=parse_origin(raw["origin"]) if "origin" in raw else None,
        )
    except MemoryError as error:
        raise WeightsFileError(f"{source}: its kinit manifest is too large for memory") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsFileError(f"{source}: its kinit manifest is damaged ({error})") from error


def plan_of(manifest: Manifest, source: str, *, customs: Customs | None = None) -> Plan:
    """Plan the spec that a manifest records, as for generating it again.

    Parameters
    ----------
    customs : Customs, optional
        Where to look for initializers that are not kinit's own. If absent none of their code
        runs: any name will do, but such tensors cannot be generated.

    Raises
    ------
    SpecError
        The recorded spec is not sound.
    """
    problems = ProblemList(SourceMap(source=f"{source} (its recorded spec)"))
    spec = check_spec({**manifest.spec, "seed": manifest.seed}, problems)
    # A few bytes of a spec can ask for a million tensors; the file must have that many, too.
    customs = customs or RecordedInitializers()
    return make_plan(spec, max_tensors=len(manifest.tensors), customs=customs)


def expectations(manifest: Manifest, source: str) -> dict[str, Expectation]:
    """Say, for each tensor that a manifest records, what its elements should be like."""
    plan = plan_of(manifest, source)
    if manifest.origin:
        plan = explicit_plan(plan)
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


def parse_whole(value: Any) -> int:
    """Check a whole number below 2^64.

    Raises
    ------
    TypeError
        It is none.
    """
    if type(value) is not int or not 0 <= value < 2**64:
        raise TypeError(f"{shown(value)} is no whole number")
    return value


def parse_record(raw: Mapping[str, Any]) -> TensorRecord:
    """Read what is recorded of one tensor.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is something else.
    """
    shape = tuple(parse_whole(size) for size in raw["shape"])
    digest = str(raw["digest"])
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f"{digest[:80]!r} is no digest")
    return TensorRecord(
        dtype=str(raw["dtype"]),
        shape=shape,
        digest=digest,
        name=str(raw["name"]) if "name" in raw else None,
        initializer=_initializer(raw["initializer"]) if "initializer" in raw else None,
    )


def shown(value: Any) -> str:
    """Quote a value that a file has where another one should be, shortened."""
    # A number may have more digits than Python writes.
    is_long = isinstance(value, int) and value.bit_length() > 256
    return "a number of many digits" if is_long else repr(value)[:80]


def _initializer(raw: Mapping[str, Any]) -> dict[str, Any]:
    class_name, config = raw["class_name"], raw["config"]
    if not isinstance(class_name, str) or not isinstance(config, dict):
        raise TypeError("an initializer has a class_name and a config")
    return {"class_name": class_name, "config": config}


def _tensor_json(tensor: TensorPlan, digest: str, name: str | None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "digest": digest,
    }
    if name is not None:
        record["name"] = name
    if tensor.initializer.type.is_custom:
        # Of kinit's own initializers the spec says everything; the defaults of others may change.
        record["initializer"] = tensor.initializer_config()
    return record
