"""`kinit import`: from a Keras model or a weights file to a spec."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinit_cli.cli.options import allow_code_option
from kinit_cli.errors import KinitError, SpecError

if TYPE_CHECKING:
    from kinit_cli.initializers.custom import CustomInitializers
    from kinit_cli.plan import Plan

STDOUT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Imported:
    """A spec and the comment to stand before it."""

    document: dict[str, Any]
    comment: str
    is_listed: bool = False


@click.command("import", epilog="Example: kinit import model.safetensors -o spec.yaml")
@click.argument("model", metavar="MODEL")
@click.option("-o", "--output", "out", metavar="OUT", default=STDOUT, show_default=True,
              help="File to write, .yaml or .json; - for stdout.")  # fmt: skip
@click.option("--initializer", "settings", multiple=True, metavar="PATTERN=CONFIG",
              help="For the tensors of a weights file whose names match; repeatable, the last "
                   "that matches counts.")  # fmt: skip
@allow_code_option
@click.option("-f", "--force", is_flag=True, help="Replace the output if it exists.")
def command(
    model: str, out: str, settings: tuple[str, ...], allow_code: tuple[str, ...], force: bool
) -> None:
    """Write a Keras model or a weights file down as a spec.

    MODEL is a weights file, of which the header alone is read: the names, shapes and dtypes of its
    tensors. Or it is what model.to_json() gives, in a file or - for stdin, or a .keras archive.
    Keras need not be installed, and nothing of the model is run. Only if the model has classes that
    kinit does not know the installed Keras builds it, without values; those that are not Keras's
    own need --allow-code.
    """
    from kinit_cli.formats.readers import holds_weights
    from kinit_cli.initializers.custom import CustomInitializers

    customs = CustomInitializers(allowed=allow_code)
    if model != STDOUT and holds_weights(Path(model)):
        imported = _import_weights(model, settings, customs)
    elif settings:
        raise KinitError(
            f"--initializer {settings[0]!r}: expected a weights file, got {model}; "
            "edit the spec of a model"
        )
    else:
        imported = _import_model(model, customs, allow_code)
    _write(_text(imported, out), out, force=force)


def _import_model(model: str, customs: CustomInitializers, allow_code: Sequence[str]) -> _Imported:
    from kinit_cli.planner import make_plan
    from kinit_cli.spec.load import parse_spec, read_source

    raw, source = read_source(model)
    try:
        spec = parse_spec(raw, source)
        plan = make_plan(spec, customs=customs)
    except SpecError:
        imported = _import_live(raw, source, customs, allow_code)
        if imported is None:
            raise
        return imported
    if not spec.is_keras:
        raise KinitError(
            f"{model}: expected a Keras model or weights, got a spec; kinit generate reads it"
        )
    comment = f"{plan.name or 'A Keras model'}: {plan.n_elements:,} parameters."
    return _Imported(document=spec.document, comment=comment)


def _import_live(
    raw: bytes, source: str, customs: CustomInitializers, allow_code: Sequence[str]
) -> _Imported | None:
    """Let Keras, if it is there, read a model with classes that kinit does not know."""
    from importlib.util import find_spec

    from kinit_cli.importing.unknown import model_with_unknown_classes

    found = model_with_unknown_classes(raw)
    if found is None or find_spec("keras") is None:
        return None
    from kinit_cli.importing.live_keras import live_document
    from kinit_cli.initializers.custom_load import load_reference

    allowed = {reference: load_reference(reference) for reference in allow_code}
    document = live_document(found.data, source, allowed)
    plan = _plan_of(document, source, customs)
    note = (
        f"kinit does not know {', '.join(found.classes)}: these are the variables that the "
        "installed Keras makes, by their places in a .weights.h5 file"
    )
    click.echo(f"kinit: note: {note}", err=True)
    comment = f"{plan.name or 'A Keras model'}: {plan.n_elements:,} parameters.\n{note}"
    return _Imported(document=document, comment=comment, is_listed=True)


def _import_weights(model: str, texts: tuple[str, ...], customs: CustomInitializers) -> _Imported:
    from kinit_cli.formats.readers import open_weights
    from kinit_cli.importing.recorded import recorded_document
    from kinit_cli.importing.settings import Settings, parse_setting
    from kinit_cli.importing.weights import import_weights

    settings = [parse_setting(text, customs) for text in texts]
    name = Path(model).name or model
    with open_weights(model) as file:
        recorded = recorded_document(file)
        if recorded is not None:
            if texts:
                raise KinitError(
                    f"--initializer {texts[0]!r}: expected a file without a spec in it, got "
                    f"{model}, which kinit wrote from one; import that and edit it"
                )
            return _Imported(document=recorded, comment=f"{name}: the spec that it was made from.")
        made = import_weights(file, Settings(settings))
        notes = made.notes
    plan = _plan_of(made.document, model, customs)
    for note in notes:
        click.echo(f"kinit: note: {note}", err=True)
    many = "tensor" if len(plan.tensors) == 1 else "tensors"
    head = f"{name}: {plan.n_elements:,} parameters in {len(plan.tensors):,} {many}."
    comment = "\n".join((head, "Initializers go by the tensors' names: edit them.", *notes))
    return _Imported(document=made.document, comment=comment, is_listed=True)


def _plan_of(document: dict[str, Any], source: str, customs: CustomInitializers) -> Plan:
    from kinit_cli.planner import make_plan
    from kinit_cli.spec.load import check_spec
    from kinit_cli.spec.problems import ProblemList, SourceMap

    problems = ProblemList(SourceMap(source=source))
    return make_plan(check_spec(document, problems), customs=customs)


def _text(imported: _Imported, out: str) -> str:
    if out.lower().endswith(".json"):
        document = {"kinit": 1, **imported.document}
        return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    if imported.is_listed:
        from kinit_cli.importing.text import listed_text

        return listed_text(imported.document, imported.comment)
    from kinit_cli.spec.write import spec_text

    return spec_text(imported.document, imported.comment)


def _write(text: str, out: str, *, force: bool) -> None:
    if out == STDOUT:
        click.echo(text, nl=False)
        return
    from kinit_cli.formats.atomic import staged

    with staged(Path(out), is_directory=False, force=force) as path:
        path.write_text(text, encoding="utf-8", newline="\n")
