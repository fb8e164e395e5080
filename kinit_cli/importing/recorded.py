"""The spec that kinit recorded in a file, if the file still is what was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinit_cli.formats.weights_file import WeightsFile


def recorded_document(file: WeightsFile) -> dict[str, Any] | None:
    """Give the recorded spec, or None if there is none or the tensors are others.

    Raises
    ------
    WeightsFileError, SpecError
        The manifest is damaged.
    """
    if file.manifest_text is None:
        return None
    from kinit_cli.manifest import parse_manifest, plan_of

    source = str(file.path)
    manifest = parse_manifest(file.manifest_text, source)
    plan = plan_of(manifest, source)
    recorded = {
        (manifest.tensors[tensor.path].name if tensor.path in manifest.tensors else None)
        or tensor.path: (tensor.shape, tensor.dtype.name)
        for tensor in plan.tensors
    }
    found = {entry.path: (entry.shape, entry.dtype) for entry in file.entries}
    if file.format == "npy":
        # The only tensor, which the file calls by its own name.
        recorded = dict(zip(found, recorded.values(), strict=False))
    return dict(manifest.spec) if recorded == found else None
