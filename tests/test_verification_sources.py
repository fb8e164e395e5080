"""`verify_file`: what the tensors are made again from, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from verified import (
    LARGE,
    LARGE_SHAPE,
    SPEC,
    change,
    edit_manifest,
    loaded,
    plan_of,
    statuses,
    written,
)

import kinit_cli.compare.remaking
import kinit_cli.engines.keras
from kinit_cli.compare.checks import Verification
from kinit_cli.compare.verification import verify_digests, verify_file
from kinit_cli.draw import Called
from kinit_cli.engines import get_engine
from kinit_cli.errors import KinitError, SpecError, UnavailableError, WeightsFileError
from kinit_cli.formats.registry import choose_writer
from kinit_cli.origin import Origin
from kinit_cli.pipeline import Output, generate
from kinit_cli.plan import Plan


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# --- another spec -----------------------------------------------------------------------------


def test_the_seed_of_the_file_goes_for_a_spec_without_one() -> None:
    written("w.h5")
    found = verify_file("w.h5", spec=loaded(SPEC.replace("seed: 42\n", "")))
    assert (found.is_same, found.seed, found.spec, found.notes) == (True, 42, "other.yaml", ())
    other = verify_file("w.h5", spec=loaded(SPEC.replace("seed: 42", "seed: 43")))
    assert statuses(other) == {"z/kernel": "values", "a/q": "values"}
    assert other.notes == ("the file records a spec that is written otherwise than this one",)


def test_a_file_that_says_nothing_needs_a_spec_and_a_seed() -> None:
    written("w.h5")
    with h5py.File("w.h5", "a") as file:
        del file.attrs["kinit"]
    for check in (verify_file, verify_digests):
        with pytest.raises(WeightsFileError, match="expected kinit's manifest in it"):
            check("w.h5")
    assert verify_file("w.h5", spec=loaded(SPEC)).is_same
    with pytest.raises(KinitError, match=r"expected a seed, got none, and w\.h5 records none"):
        verify_file("w.h5", spec=loaded(SPEC.replace("seed: 42\n", "")))
    constant = "layers: [{name: a, weights: {bias: {shape: [3]}}}]"
    found = verify_file("w.h5", spec=loaded(constant))
    assert (statuses(found)["a/bias"], found.seed) == ("missing", None)


def test_values_of_another_stream_are_refused() -> None:
    written("w.h5")
    edit_manifest("w.h5", lambda manifest: manifest.update(stream=2))
    with pytest.raises(WeightsFileError, match="expected values of stream version 1, got 2"):
        verify_file("w.h5")
    assert verify_digests("w.h5").stream == 2


KERAS = Origin(engine="keras", version="3.15.1", backend="jax", backend_version="0.10.2")


@pytest.mark.parametrize(
    ("installed", "told"),
    [
        (replace(KERAS, version="3.9.0"), "expected Keras 3.15.1, got Keras 3.9.0; install"),
        (replace(KERAS, backend_version="0.9"), "expected jax 0.10.2, got jax 0.9; install"),
        (
            replace(KERAS, backend="torch", backend_version="2.9"),
            "expected jax 0.10.2, got torch 2.9; install what drew them, with KERAS_BACKEND=jax",
        ),
        (
            replace(KERAS, version="3.9.0", backend_version="0.9"),
            "expected Keras 3.15.1 and jax 0.10.2, got Keras 3.9.0 and jax 0.9; install",
        ),
        (UnavailableError("engine keras: Keras is not installed"), "Keras is not installed; or"),
    ],
)
def test_values_of_another_library_are_refused(
    installed: Origin | UnavailableError, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written("w.h5")
    edit_manifest("w.h5", lambda manifest: manifest.update(stream=None, origin=KERAS.to_json()))

    def origin(*, is_alone: bool) -> Origin:
        if isinstance(installed, Origin):
            return installed
        raise installed

    monkeypatch.setattr(kinit_cli.engines.keras, "keras_origin", origin)
    with pytest.raises(UnavailableError) as caught:
        verify_file("w.h5")
    message = str(caught.value)
    assert message.startswith("w.h5: its values are Keras 3.15.1's own, on jax 0.10.2")
    assert told in message
    assert message.endswith("; or --quick compares with the recorded digests")
    found = verify_digests("w.h5")
    assert found.is_same
    assert found.origin == KERAS


def test_values_of_an_unknown_library_are_refused() -> None:
    written("w.h5")
    other = replace(KERAS, engine="flax").to_json()
    edit_manifest("w.h5", lambda manifest: manifest.update(stream=None, origin=other))
    with pytest.raises(WeightsFileError, match="which this kinit cannot make again; --quick"):
        verify_file("w.h5")


def test_a_recorded_spec_that_is_none_is_an_error() -> None:
    written("w.h5")
    edit_manifest("w.h5", lambda manifest: manifest.update(spec={"layers": 5}))
    with pytest.raises(SpecError, match="its recorded spec"):
        verify_file("w.h5")
    with h5py.File("w.h5", "a") as file:
        file.attrs["kinit"] = "{"
    with pytest.raises(WeightsFileError, match="manifest is damaged"):
        verify_file("w.h5")
    found = verify_file("w.h5", spec=loaded(SPEC))
    assert found.is_same
    assert found.notes[0].startswith("what the file says about itself cannot be used")


# --- parts, functions, progress ---------------------------------------------------------------


def test_a_pattern_chooses_tensors() -> None:
    written("w.h5")
    change("w.h5", "z/bias", lambda values: values + 1)
    change("w.h5", "m/n", lambda values: None)
    assert verify_file("w.h5", pattern="*/kernel").is_same
    assert statuses(verify_file("w.h5", pattern="z/*")) == {"z/bias": "values"}
    assert statuses(verify_digests("w.h5", pattern="m/n")) == {"m/n": "missing"}
    with pytest.raises(WeightsFileError, match="expected a tensor that matches 'q', got none"):
        verify_file("w.h5", pattern="q")


def test_functions_are_called_as_for_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(text: str = SPEC) -> Plan:
        generator = np.random.default_rng(0)

        def draw(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
            return generator.random(shape).astype(dtype)

        plan = plan_of(text)
        called = [
            replace(one, draw=Called(function=draw)) if one.path.startswith("z/") else one
            for one in plan.tensors
        ]
        return replace(plan, tensors=tuple(called))

    output = Output(target=Path("w.h5"), writer=choose_writer("w.h5", None, n_tensors=6))
    generate(planned(), output, engine=get_engine("numpy"), jobs=1)
    monkeypatch.setattr(kinit_cli.compare.remaking, "plan_of", lambda *args, **options: planned())
    assert verify_file("w.h5").is_same
    # The kernel's function draws first, whether the kernel is looked at or not.
    assert verify_file("w.h5", pattern="z/bias").is_same
    change("w.h5", "z/kernel", lambda values: None)
    change("w.h5", "z/bias", lambda values: values[::-1].copy())
    assert statuses(verify_file("w.h5")) == {"z/kernel": "missing", "z/bias": "values"}


@pytest.mark.parametrize("check", [verify_file, verify_digests])
def test_progress_adds_up(check: Callable[..., Verification]) -> None:
    written("w.h5", LARGE)
    calls: list[int] = []
    found = check("w.h5", progress=calls.append)
    assert sum(calls) == found.n_bytes == 4 * np.prod(LARGE_SHAPE)


def test_an_interrupt_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    written("w.h5", LARGE)

    def interrupt(n_bytes: int) -> None:
        raise KeyboardInterrupt

    for check in (verify_file, verify_digests):
        with pytest.raises(KeyboardInterrupt):
            check("w.h5", progress=interrupt)
