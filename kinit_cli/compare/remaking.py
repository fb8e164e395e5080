"""How a file's tensors are made again: from what the file records, or from another spec."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from kinit_cli.engines.registry import OWN_VALUES_NAMES
from kinit_cli.errors import KinitError, UnavailableError, WeightsFileError
from kinit_cli.initializers.base import CustomError, Customs
from kinit_cli.initializers.custom import CustomInitializers
from kinit_cli.manifest import Manifest, parse_manifest, plan_of
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan
from kinit_cli.stream import STREAM_VERSION

if TYPE_CHECKING:
    from kinit_cli.formats.weights_file import WeightsFile
    from kinit_cli.origin import Origin
    from kinit_cli.spec.load import LoadedSpec

_REFERENCE = re.compile(r"[\w.]+:[\w.]+")
_MAX_SHOWN = 5
_QUICK = "--quick compares with the recorded digests"


def read_manifest(
    file: WeightsFile, notes: list[str], *, is_needed: bool, is_quick: bool = False
) -> Manifest | None:
    """Read what a file says about itself; if that is not needed, a note may say that it is none.

    Raises
    ------
    WeightsFileError
        It is needed, and is missing or damaged.
    """
    if file.manifest_text is None:
        if is_needed:
            remedy = "leave --quick away, and give" if is_quick else "give"
            raise WeightsFileError(
                f"{file.path}: expected kinit's manifest in it, which has the spec and the seed, "
                f"got none; {remedy} the spec it was made from with --spec"
            )
        notes.append("the file says nothing about itself: it has no manifest")
        return None
    try:
        return parse_manifest(file.manifest_text, str(file.path))
    except WeightsFileError as error:
        if is_needed:
            raise
        notes.append(f"what the file says about itself cannot be used: {error}")
        return None


def plan_again(
    file: WeightsFile,
    manifest: Manifest | None,
    spec: LoadedSpec | None,
    notes: list[str],
    *,
    customs: Customs | None = None,
    is_alone: bool = False,
) -> Plan:
    """Plan the tensors that a file should have, with values of whoever drew the file's.

    Parameters
    ----------
    manifest : Manifest or None
        The file's own; not None if there is no `spec`.
    customs : Customs, optional
        Initializers that are not kinit's own; those of installed packages if absent.
    is_alone : bool
        See `kinit_cli.engines.quiet.quiet`.

    Raises
    ------
    KinitError
        The values cannot be made again here, or there is no seed.
    SpecError
        The spec has problems.
    """
    if manifest is not None and manifest.origin is None and manifest.stream != STREAM_VERSION:
        raise WeightsFileError(
            f"{file.path}: expected values of stream version {STREAM_VERSION}, got "
            f"{manifest.stream}; another version of kinit can make them again, and {_QUICK}"
        )
    customs = customs or CustomInitializers()
    if spec is None:
        assert manifest is not None
        _check_customs(file, manifest, customs)
        plan = plan_of(manifest, str(file.path), customs=customs)
    else:
        plan = _plan_of_spec(file, manifest, spec, customs, notes)
    if manifest is not None and manifest.origin is not None:
        return _drawn_as(manifest.origin, plan, file, is_alone=is_alone)
    return plan


def _plan_of_spec(
    file: WeightsFile,
    manifest: Manifest | None,
    spec: LoadedSpec,
    customs: Customs,
    notes: list[str],
) -> Plan:
    if spec.model.seed is None and manifest is not None:
        spec = replace(
            spec,
            model=spec.model.model_copy(update={"seed": manifest.seed}),
            document={**spec.document, "seed": manifest.seed},
        )
    plan = make_plan(spec, customs=customs)
    if plan.is_seed_drawn and any(t.is_random and t.initializer.seed is None for t in plan.tensors):
        raise KinitError(
            f"{spec.problems.source_map.source}: expected a seed, got none, and {file.path} "
            "records none either; give --seed"
        )
    if manifest is not None and manifest.spec != plan.document:
        notes.append("the file records a spec that is written otherwise than this one")
    return plan


def _check_customs(file: WeightsFile, manifest: Manifest, customs: Customs) -> None:
    """Check that the code is at hand of the initializers that a manifest says are not kinit's."""
    records = manifest.tensors.values()
    names = dict.fromkeys(str(one.initializer["class_name"]) for one in records if one.initializer)
    missing = [name for name in names if not _is_known(name, customs)]
    if missing:
        shown = ", ".join(map(repr, missing[:_MAX_SHOWN]))
        more = f" and {len(missing) - _MAX_SHOWN} more" if missing[_MAX_SHOWN:] else ""
        options = " ".join(map(_option, missing[:_MAX_SHOWN]))
        raise WeightsFileError(
            f"{file.path}: expected the code of its custom initializers, got none for "
            f"{shown}{more}; give it with {options}, or {_QUICK}"
        )


def _option(name: str) -> str:
    reference = f"MODULE:{name}" if name.isidentifier() else "MODULE:NAME"
    return f"--allow-code {name if _REFERENCE.fullmatch(name) else reference}"


def _is_known(name: str, customs: Customs) -> bool:
    try:
        return customs.find(name) is not None
    except CustomError:
        return True  # and planning says what is wrong with it


# --- other libraries' values ------------------------------------------------------------------


def _drawn_as(origin: Origin, plan: Plan, file: WeightsFile, *, is_alone: bool) -> Plan:
    """Have a plan drawn by the library that drew the file's values, if this is the same one."""
    where = f"{file.path}: its values are {origin}"
    if origin.engine not in OWN_VALUES_NAMES:
        raise WeightsFileError(f"{where}, which this kinit cannot make again; {_QUICK}")
    from kinit_cli.engines.keras import keras_origin, keras_plan

    try:
        installed = keras_origin(is_alone=is_alone)
    except UnavailableError as error:
        raise UnavailableError(f"{where}; {error}; or {_QUICK}") from error
    if installed != origin:
        raise UnavailableError(f"{where}: {_difference(origin, installed)}; or {_QUICK}")
    return keras_plan(plan, is_alone=is_alone)


def _difference(recorded: Origin, installed: Origin) -> str:
    """Say what of a library is not as it was, and what to do."""
    expected, got = (
        (f"{one.engine.capitalize()} {one.version}", f"{one.backend} {one.backend_version}")
        for one in (recorded, installed)
    )
    changed = [(a, b) for a, b in zip(expected, got, strict=True) if a != b]
    hint = "install what drew them"
    if recorded.backend != installed.backend:
        hint += f", with KERAS_BACKEND={recorded.backend}"
    wanted, found = (" and ".join(texts) for texts in zip(*changed, strict=True))
    return f"to make them again, expected {wanted}, got {found}; {hint}"
