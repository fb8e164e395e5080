"""`kinit import`: from a Keras model to a spec."""

from __future__ import annotations

from pathlib import Path

import click

from kinit_cli.errors import KinitError

STDOUT = "-"


@click.command("import", epilog="Example: kinit import model.json -o spec.yaml")
@click.argument("model", metavar="MODEL")
@click.option("-o", "--output", "out", metavar="OUT", default=STDOUT, show_default=True,
              help="File to write; - for stdout.")  # fmt: skip
@click.option("-f", "--force", is_flag=True, help="Replace the output if it exists.")
def command(model: str, out: str, force: bool) -> None:
    """Write a Keras model down as a spec.

    MODEL is what model.to_json() gives, in a file or - for stdin, or a .keras archive. Keras need
    not be installed, and nothing of the model is run.
    """
    from kinit_cli.planner import make_plan
    from kinit_cli.spec.load import load_spec
    from kinit_cli.spec.write import spec_text

    spec = load_spec(model)
    plan = make_plan(spec)
    if not spec.is_keras:
        raise KinitError(f"{model}: expected a Keras model, got a spec; kinit generate reads it")
    comment = f"{plan.name or 'A Keras model'}: {plan.n_elements:,} parameters."
    _write(spec_text(spec.document, comment), out, force=force)


def _write(text: str, out: str, *, force: bool) -> None:
    if out == STDOUT:
        click.echo(text, nl=False)
        return
    from kinit_cli.formats.atomic import check_target, staged

    check_target(Path(out), is_directory=False, force=force)
    with staged(Path(out), is_directory=False, force=force) as path:
        path.write_text(text, encoding="utf-8", newline="\n")
