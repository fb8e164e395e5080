"""From a spec to a file, as whole processes, against scripts and the speed of writing itself.

kinit measures and hashes every element and records the spec; the scripts do not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import models
from benchmarks.comparisons import LABELS
from benchmarks.environment import fmt_bytes, output_folder
from benchmarks.measure import Series, alternate_calls, kinit_command, run, tell
from benchmarks.options import Options
from benchmarks.report import Part, Result, ratio_result, round_notes, speed_result

KERAS_TARGET = 6.0
LIMIT_TARGET = 4.0
_LIMIT = "writing alone"
_OUTPUTS = {"keras": "keras.weights.h5", "torch": "torch.safetensors", "numpy": "numpy.h5"}
#: Files of two programs at most are there at once, should one be left behind.
_ROOM = 2


def measure(options: Options) -> Part:
    """Measure both models."""
    results: list[Result] = []
    notes: list[str] = [
        "kinit's statistics and digests are included. Writing alone: the same number of bytes from"
        " a ready buffer, with as many threads.",
        "The NumPy and PyTorch scripts draw a HeNormal without the truncation.",
    ]
    sizes = options.sizes
    if sizes.has_gpt2:
        _measure_model("GPT-2 small", "gpt2", models.GPT2_BYTES, options, results, notes)
    wide_bytes = models.wide_bytes(sizes.model_bytes)
    wide = models.wide_model(sizes.model_bytes)
    _measure_model("HeNormal kernels", wide, wide_bytes, options, results, notes)
    return Part(title="From spec to file", results=results, notes=notes)


def _measure_model(
    name: str,
    model: str,
    n_bytes: int,
    options: Options,
    results: list[Result],
    notes: list[str],
) -> None:
    with output_folder(_ROOM * n_bytes, options.folder) as place:
        if place is None:
            notes.append(f"No room for {name} of {fmt_bytes(n_bytes)}: left out.")
            tell(notes[-1])
            return
        title = f"{name}, {fmt_bytes(n_bytes)}, to {place.kind}"
        whole, inner = _run_all(title, model, n_bytes, place.folder, options)
    kinit, limit = whole["kinit"], whole[_LIMIT]
    results.append(
        ratio_result(f"{title}: against {_LIMIT}", [kinit, limit], LIMIT_TARGET, is_main=True)
    )
    pair = [inner["kinit"], inner[_LIMIT]]
    results.append(ratio_result(f"{title}: against {_LIMIT}, both without imports", pair, None))
    for peer in (peer for peer in ("keras", "torch", "numpy") if peer in whole):
        target = KERAS_TARGET if peer == "keras" else None
        label = f"the {LABELS[peer]} script"
        results.append(
            speed_result(title, label, [kinit, whole[peer]], target, is_main=target is not None)
        )
        results.append(
            speed_result(title, label, [kinit, inner[peer]], None, variant="without its imports")
        )
    notes += round_notes(title, list(whole.values()))


def _run_all(
    title: str, model: str, n_bytes: int, folder: Path, options: Options
) -> tuple[dict[str, Series], dict[str, Series]]:
    """Run kinit, the scripts and the writing in turn; give whole times and those after imports."""
    commands = _commands(model, n_bytes, folder, options)
    inner: dict[str, list[float]] = {name: [] for name in commands}

    def call(name: str) -> float:
        for path in folder.iterdir():
            if path.name != "spec.yaml":
                path.unlink()
        done = run(commands[name])
        inner[name].append(_inner_seconds(done.output))
        return done.seconds

    calls = {name: lambda name=name: call(name) for name in commands}
    whole = alternate_calls(calls, options.sizes.rounds, title=title)
    shown = {name: LABELS.get(name, name) for name in commands}
    return (
        {
            name: Series(name=shown[name], seconds=one.seconds)
            for name, one in zip(commands, whole, strict=True)
        },
        {
            name: Series(name=shown[name], seconds=tuple(seconds[1:]))
            for name, seconds in inner.items()
        },
    )


def _commands(model: str, n_bytes: int, folder: Path, options: Options) -> dict[str, list[str]]:
    if model == "gpt2":
        spec = models.GPT2_SPEC
    else:
        spec = folder / "spec.yaml"
        spec.write_text(models.wide_spec(n_bytes), encoding="utf-8")
    n_threads = str(options.threads)
    generate = [*kinit_command(), "generate", str(spec), "--jobs", n_threads, "--json"]
    commands = {"kinit": [*generate, "-o", str(folder / "kinit.h5")]}
    for peer, output in _OUTPUTS.items():
        if peer in options.python_of:
            script = f"benchmarks.scripts.{peer}_script"
            target = str(folder / output)
            commands[peer] = [options.python_of[peer], "-m", script, target, model]
    raw = [sys.executable, "-m", "benchmarks.scripts.raw_write", str(folder / "raw")]
    commands[_LIMIT] = [*raw, str(n_bytes), n_threads]
    return commands


def _inner_seconds(output: str) -> float:
    """Read what a script prints last, or kinit's document."""
    if output.lstrip().startswith("{"):
        return float(json.loads(output)["seconds"])
    return float(output.split()[-1])
