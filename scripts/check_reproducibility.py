"""Hold what kinit makes against tests/goldens/reproducibility.json, in every way this machine has.

Every run is a process of its own: each Python that is found, kinit's libraries at their oldest and
their newest, each engine, some numbers of threads, and settings that must not matter. Each digests
all sample specs, and all files of the small ones. The exit code is 1 if a digest differs.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import reproducibility_page as page
from reproducibility_environments import (
    LIBRARIES,
    MINORS,
    Environment,
    NotHereError,
    environment_here,
    environment_of,
    find_pythons,
    has_module,
)
from reproducibility_runs import (
    CORE_TYPES,
    OTHER_SETTINGS,
    Combination,
    RunError,
    Setting,
    compare,
    golden_of,
    read_golden,
    run_combination,
    write_golden,
)

ENGINES = ("numpy", "numba")
#: The second and third are the TensorFlow engine in one of its modes, for every element.
TENSORFLOW_ENGINES = ("tensorflow", "tensorflow-xla", "tensorflow-eager")
#: Each output tries the engine anew, which takes seconds to compile.
TENSORFLOW_VARIANTS = ("hdf5", "safetensors")
THREADS = (1, 2)
MORE_THREADS = 5
_MAX_SHOWN = 20


def main(arguments: list[str] | None = None) -> int:
    """Run the matrix; give the exit code."""
    options = _parse(arguments)
    combinations = list(iter_combinations(options))
    golden = None if options.update else read_golden()
    runs, answers = [], []
    for number, combination in enumerate(combinations, 1):
        began = time.monotonic()
        try:
            answer = run_combination(combination)
            lines = [] if golden is None else compare(golden, answer)
            runs.append(page.record(combination, answer, lines))
            answers.append((combination.label, answer))
        except RunError as error:
            lines = [f"no result: {error}"]
            runs.append(page.record(combination, None, lines))
        _tell(f"[{number}/{len(combinations)}] {combination.label}", lines, began)
    n_wrong = sum(bool(run["differences"]) for run in runs)
    if golden is None and not n_wrong:
        n_wrong = _update(answers)
    print(f"{len(runs)} runs, {n_wrong} of them differ")
    if options.store and not n_wrong:
        page.store(runs, not_here(options))
    return 1 if n_wrong else 0


def iter_combinations(options: argparse.Namespace) -> Iterator[Combination]:
    """Give what is run: most of it here and in the oldest and the newest environment."""
    here = environment_here()
    yield from _with_engines(here, (*THREADS, MORE_THREADS))
    if importlib.util.find_spec("tensorflow") is not None:
        yield from _with_tensorflow(here, options.device)
    yield from _with_settings(here, CORE_TYPES, engine_of_samples="numpy")
    yield from _with_settings(here, OTHER_SETTINGS)
    if options.quick:
        yield _whole(Combination(environment=here, engine=engines_of(here)[-1]))
        return
    environments = list(iter_environments(options, tell=True))
    for environment in environments:
        if environment in (environments[0], environments[-1]):
            yield from _with_engines(environment, THREADS)
            yield _whole(Combination(environment=environment))
            yield from _with_settings(environment, CORE_TYPES)
        else:
            *others, engine = engines_of(environment)
            yield Combination(environment=environment, engine=engine)
            for other in others:
                yield Combination(environment=environment, engine=other, has_samples=False)
        if options.tensorflow:
            yield Combination(
                environment=environment,
                engine="tensorflow",
                device=options.device,
                variants=TENSORFLOW_VARIANTS,
            )


def iter_environments(options: argparse.Namespace, *, tell: bool = False) -> Iterator[Environment]:
    """Make the environments of the matrix, those that can be had."""
    extras = ("tensorflow",) if options.tensorflow else ()
    for minor in find_pythons():
        for libraries in LIBRARIES:
            try:
                yield environment_of(minor, libraries, extras)
            except NotHereError as error:
                if tell:
                    print(f"not here: {error}", flush=True)


def not_here(options: argparse.Namespace) -> list[str]:
    """List what of the matrix this machine has not, for people."""
    known = [minor for minor in MINORS if minor <= max(find_pythons())]
    missing = [f"Python 3.{minor}" for minor in known if minor not in find_pythons()]
    made = {environment.label for environment in iter_environments(options)}
    wanted = [
        f"Python 3.{m}, {libraries} libraries" for m in find_pythons() for libraries in LIBRARIES
    ]
    return [*missing, *(label for label in wanted if label not in made and not options.quick)]


@lru_cache
def engines_of(environment: Environment) -> tuple[str, ...]:
    """Give the engines that an environment has, the quickest last; there may be no Numba for it."""
    return ENGINES if has_module(environment, "numba") else ENGINES[:1]


def _with_engines(environment: Environment, threads: Sequence[int]) -> Iterator[Combination]:
    for engine in engines_of(environment):
        for n_threads in threads:
            yield Combination(environment=environment, engine=engine, threads=n_threads)


def _with_tensorflow(environment: Environment, device: str) -> Iterator[Combination]:
    for engine in TENSORFLOW_ENGINES:
        for threads in THREADS:
            yield Combination(
                environment=environment,
                engine=engine,
                threads=threads,
                device=device,
                variants=TENSORFLOW_VARIANTS,
                # As users have it; its modes apart, which are slower, with the small specs.
                has_samples=engine == "tensorflow" and threads == max(THREADS),
            )


def _with_settings(
    environment: Environment, settings: Sequence[Setting], engine_of_samples: str | None = None
) -> Iterator[Combination]:
    for setting in settings:
        for engine in engines_of(environment):
            if setting.engine in (None, engine):
                yield Combination(
                    environment=environment,
                    engine=engine,
                    setting=setting,
                    has_samples=engine == engine_of_samples,
                )


def _whole(combination: Combination) -> Combination:
    """Let the large files be written as well."""
    return replace(combination, max_bytes=sys.maxsize)


def _update(answers: Sequence[tuple[str, Mapping[str, Any]]]) -> int:
    """Write the golden file if all runs agree; give the number of those that do not."""
    try:
        golden = golden_of(answers)
    except ValueError as error:
        print(f"the runs differ among themselves, so nothing is updated:\n{error}")
        return 1
    write_golden(golden)
    return 0


def _tell(label: str, lines: list[str], began: float) -> None:
    print(f"{label}: {'DIFFERS' if lines else 'equal'}, {time.monotonic() - began:.0f} s")
    for line in lines[:_MAX_SHOWN]:
        print(f"    {line}")
    if len(lines) > _MAX_SHOWN:
        print(f"    and {len(lines) - _MAX_SHOWN} more")
    sys.stdout.flush()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="this environment only")
    parser.add_argument("--update", action="store_true", help="write the golden file anew")
    parser.add_argument("--store", action="store_true", help="write the table of the docs anew")
    parser.add_argument("--tensorflow", action="store_true", help="install TensorFlow everywhere")
    parser.add_argument("--device", default="cpu", help="for TensorFlow: cpu, gpu or gpu:N")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
