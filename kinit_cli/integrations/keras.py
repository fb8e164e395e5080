"""kinit's values in a live Keras model: `KinitInitializer`, on every backend of Keras.

This module needs Keras. To load a saved model that holds a `KinitInitializer`, import it before.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kinit_cli.api import tensor
from kinit_cli.errors import SpecError
from kinit_cli.initializers.base import Initializer
from kinit_cli.initializers.custom import CustomInitializers
from kinit_cli.initializers.parse import parse_initializer
from kinit_cli.keras_objects import keras_config
from kinit_cli.spec.document import clean_data
from kinit_cli.spec.names import name_fault
from kinit_cli.spec.plain import as_plain
from kinit_cli.spec.problems import ProblemList, SourceMap, fmt_value
from kinit_cli.stream.identity import SEED_STOP

try:
    import keras
except ModuleNotFoundError as error:
    if error.name != "keras":
        raise
    raise ImportError(
        "kinit_cli.integrations.keras needs Keras, which is not installed; "
        "pip install 'kinit-cli[keras]', and tensorflow, jax or torch for its backend"
    ) from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KinitInitializer"]


@keras.saving.register_keras_serializable(package="kinit")
class KinitInitializer(keras.initializers.Initializer):  # type: ignore[misc]
    """Give a weight the very values that a file of kinit's would hold.

    They are those of a spec with this seed, in which the tensor of this path has this
    initializer: a function of these and of shape and dtype, and of nothing else. The same object
    gives equal values each time, and so do two with the same seed and path.

    Parameters
    ----------
    initializer : str, dict or keras.initializers.Initializer
        As a spec names it, by alias or in Keras's serialized form, or an initializer of Keras.
        A seed of its own takes the place of seed and path.
    seed : int
        The model's seed, 0 <= seed < 2**64.
    path : str
        The tensor's path, ``layer/weight``.

    Raises
    ------
    ValueError
        An argument is not one of these.

    Examples
    --------
    >>> import keras
    >>> initializer = KinitInitializer("he_normal", seed=42, path="dense/kernel")
    >>> layer = keras.layers.Dense(10, kernel_initializer=initializer)
    """

    def __init__(self, initializer: Any, seed: int, path: str) -> None:
        self._parsed = _parsed(initializer)
        self.seed = _checked_seed(seed)
        self.path = _checked_path(path)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Give a tensor of Keras's backend.

        Parameters
        ----------
        shape : sequence of int
        dtype : optional
            A dtype of kinit's as Keras takes it; `keras.config.floatx()` if absent.

        Raises
        ------
        ValueError
            The initializer does not suit the shape, or the dtype cannot hold its values.
        """
        name = keras.backend.standardize_dtype(dtype or keras.config.floatx())
        values = _tensor(self._parsed, tuple(shape), self.seed, self.path, name)
        return keras.ops.convert_to_tensor(values, dtype=name)

    def get_config(self) -> dict[str, Any]:
        """Give the arguments as plain data, the initializer with all of its own."""
        return {
            "initializer": as_plain(self._parsed.config()),
            "seed": self.seed,
            "path": self.path,
        }


# --- arguments ------------------------------------------------------------------------------


def _parsed(initializer: Any) -> Initializer:
    problems = ProblemList(SourceMap(source="KinitInitializer"))
    raw = clean_data(as_plain(keras_config(initializer) or initializer), problems)
    parsed = parse_initializer(raw, {}, ("initializer",), problems, CustomInitializers())
    try:
        problems.raise_if_any()
    except SpecError as error:
        raise ValueError(str(error)) from error
    assert parsed is not None
    return parsed[0]


def _checked_seed(seed: Any) -> int:
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if isinstance(seed, bool) or not 0 <= number < SEED_STOP:
        raise ValueError(
            "KinitInitializer: seed: expected a whole number from 0 to 2**64 - 1, "
            f"got {fmt_value(seed)}; it is the model's seed, as in a spec"
        )
    return number


def _checked_path(path: Any) -> str:
    fault = name_fault(path) if isinstance(path, str) else fmt_value(path)
    if fault is None and "/" not in path:
        fault = f"{path!r} without a '/'"
    if fault is not None:
        raise ValueError(
            f"KinitInitializer: path: expected a tensor's path 'layer/weight', got {fault}"
        )
    return str(path)


# --- values ---------------------------------------------------------------------------------


def _tensor(
    initializer: Initializer, shape: tuple[Any, ...], seed: int, path: str, dtype: str
) -> NDArray[Any]:
    try:
        return tensor(initializer.config(), shape, seed=seed, path=path, dtype=dtype)
    except SpecError as error:
        told = (
            f"{path}: {initializer}: expected {problem.expected}, got {problem.got}"
            + (f"; {problem.hint}" if problem.hint else "")
            for problem in error.problems
        )
        raise ValueError("\n".join(told)) from error
