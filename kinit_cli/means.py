"""What computes a plan: an engine, its device, a number of threads, as the user chooses them."""

from __future__ import annotations

from dataclasses import dataclass

from kinit_cli.engines.base import Engine
from kinit_cli.engines.registry import ENGINE_NAMES, OWN_VALUES_NAMES, get_engine
from kinit_cli.engines.saving import seconds_saved_generating, seconds_saved_on_gpu
from kinit_cli.engines.tensorflow_devices import is_device_name
from kinit_cli.engines.trial import OnFault
from kinit_cli.errors import UnavailableError, suggest
from kinit_cli.plan import Plan
from kinit_cli.workers import default_jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """A choice of engine, device and threads, checked.

    Attributes
    ----------
    engine : str
        One of `ENGINE_NAMES`, or of `OWN_VALUES_NAMES` for values that are not the stream's.
    device : str, optional
        For engine `tensorflow` or `auto`: `cpu`, `gpu` or `gpu:N`.
    jobs : int
        Threads; the cores that this process may use if absent.
    is_alone : bool
        See `kinit_cli.engines.registry.get_engine`.

    Raises
    ------
    UnavailableError
        There is no such engine or device.
    """

    engine: str = "auto"
    device: str | None = None
    jobs: int = 0
    is_alone: bool = False

    def __post_init__(self) -> None:
        names = (*ENGINE_NAMES, *OWN_VALUES_NAMES)
        if self.engine not in names:
            hint = suggest(str(self.engine), names) or f"known are {', '.join(names)}"
            raise UnavailableError(f"no engine is called {self.engine!r}; {hint}")
        if self.device is not None and self.engine not in ("auto", "tensorflow"):
            raise UnavailableError(
                f"device {self.device}: expected engine tensorflow or auto, got {self.engine}"
            )
        if self.device is not None and not is_device_name(str(self.device)):
            raise UnavailableError(f"expected the device cpu, gpu or gpu:N, got {self.device!r}")
        if type(self.jobs) is not int or self.jobs < 0:
            raise UnavailableError(f"expected a number of threads from 1 on, got {self.jobs!r}")
        object.__setattr__(self, "jobs", self.jobs or default_jobs())

    def drawn(self, plan: Plan) -> Plan:
        """Give the plan with the draws of the library whose own values are asked for, if any."""
        if self.engine not in OWN_VALUES_NAMES:
            return plan
        from kinit_cli.engines.keras import keras_plan

        return keras_plan(plan, is_alone=self.is_alone)

    def engine_for(self, plan: Plan, on_fault: OnFault = lambda text: None) -> Engine:
        """Load the engine that computes a plan that `drawn` gave."""
        return get_engine(
            "auto" if plan.origin else self.engine,
            seconds_saved=seconds_saved_generating(plan, self.jobs),
            seconds_saved_on_gpu=seconds_saved_on_gpu(plan, self.jobs),
            device=self.device,
            on_fault=on_fault,
            is_alone=self.is_alone,
        )
