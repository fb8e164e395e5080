"""What custom initializers return: arrays of any library, and what is refused and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from custom_specs import plan_with, write, written
from oracles import import_oracle

from kinit_cli.dtypes import numpy_dtype
from kinit_cli.errors import InitializerError
from kinit_cli.returned import call_function

BFLOAT16 = numpy_dtype("bfloat16")
NUMBERS = np.arange(6, dtype="f4").reshape(2, 3)


def call(function: Callable[..., Any], shape: tuple[int, ...] = (2, 3), dtype: str = "f4") -> Any:
    name = np.dtype(dtype).name if dtype != "bfloat16" else dtype
    weight = written("f", shape, dtype=name)
    (tensor,) = plan_with({"f": function}, {"k": weight}).tensors
    return call_function(tensor.draw, tensor)  # type: ignore[arg-type]


def giving(value: Any) -> Callable[..., Any]:
    return lambda shape, dtype=None: value


class Subclass(np.ndarray):  # type: ignore[type-arg]
    pass


# --- what is taken ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        NUMBERS,
        NUMBERS.astype(">f4"),
        np.asfortranarray(NUMBERS),
        np.repeat(NUMBERS, 2, axis=1)[:, ::2],
        np.flip(np.flip(NUMBERS))[:],
        NUMBERS.view(Subclass),
        memoryview(NUMBERS),
    ],
)
def test_any_strides_and_byte_order_will_do(value: Any) -> None:
    got = call(giving(value))
    np.testing.assert_array_equal(got, NUMBERS, strict=True)
    assert type(got) is np.ndarray
    assert got.dtype.isnative
    assert got.flags.c_contiguous
    assert got.flags.writeable
    assert not np.shares_memory(got, np.asarray(value))


def test_a_read_only_array_is_copied_too() -> None:
    value = np.broadcast_to(np.float32(2), (2, 3))
    np.testing.assert_array_equal(call(giving(value)), np.full((2, 3), 2, "f4"), strict=True)


@pytest.mark.parametrize(
    ("value", "shape", "dtype"),
    [
        (2.5, (), "f8"),
        (np.float32(2.5), (), "f4"),
        (3, (), "i8"),
        (True, (), "?"),
        ([[1.0, 2.0]], (1, 2), "f8"),
        (np.float32(1).astype(BFLOAT16), (), "bfloat16"),
        (np.zeros((0, 3), "f4"), (0, 3), "f4"),
    ],
)
def test_scalars_and_lists_of_the_right_dtype(value: Any, shape: Any, dtype: str) -> None:
    expected = np.asarray(value, numpy_dtype("bfloat16") if dtype == "bfloat16" else dtype)
    np.testing.assert_array_equal(call(giving(value), shape, dtype), expected, strict=True)


@pytest.mark.parametrize("n_elements", [2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20 + 5])
def test_every_element_of_a_large_array_is_looked_at(n_elements: int) -> None:
    values = np.zeros(n_elements, "f4")
    assert call(giving(values), (n_elements,)).shape == (n_elements,)
    values[[0, n_elements // 2, -1]] = [np.nan, np.inf, -np.inf]
    message = "expected finite values, got 3 that are not, the first nan at [0]"
    with pytest.raises(InitializerError) as caught:
        call(giving(values), (n_elements,))
    assert str(caught.value).endswith(message)
    values[[0, n_elements // 2]] = 0
    with pytest.raises(InitializerError, match=rf"got 1 .* first -inf at \[{n_elements - 1}\]"):
        call(giving(values), (n_elements,))


# --- what is not --------------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[..., Any]:
    def function(shape: Any, dtype: Any = None) -> Any:
        raise error

    return function


class Unwilling:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("not on this device")


def with_bad(value: float, dtype: Any = "f4") -> Any:
    values = NUMBERS.astype(dtype)
    values[1, 2] = value
    return values


WHERE = "; KINIT_DEBUG=1 shows where"
OF_DTYPE = "; return values of the dtype that it is called with"


class MuteError(Exception):
    def __str__(self) -> str:
        raise KeyError


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raising(ValueError("no\n luck")), f"values, got ValueError: no luck{WHERE}"),
        (raising(KeyError()), f"values, got KeyError{WHERE}"),
        (raising(SystemExit(0)), f"values, got SystemExit: 0{WHERE}"),
        (raising(MemoryError()), f"values, got MemoryError{WHERE}"),
        (
            raising(MuteError()),
            f"values, got MuteError: (its text cannot be had: KeyError){WHERE}",
        ),
        (giving(None), "an array, got None (is a return missing?)"),
        (giving(object()), "an array, got object (it holds no plain numbers)"),
        (giving(x for x in "ab"), "an array, got generator (it holds no plain numbers)"),
        (giving(NUMBERS.astype(object)), "an array, got ndarray (it holds no plain numbers)"),
        (
            giving(np.ma.masked_less(NUMBERS, 2)),
            "an array, got MaskedArray (masked elements have no value; fill them)",
        ),
        (giving(Unwilling()), "an array, got Unwilling (RuntimeError: not on this device)"),
        (giving(NUMBERS.T), "shape [2, 3], got [3, 2]"),
        (giving(NUMBERS[None]), "shape [2, 3], got [1, 2, 3]"),
        (giving(1.0), "shape [2, 3], got []"),
        (giving(NUMBERS.astype("f8")), f"dtype float32, got float64{OF_DTYPE}"),
        (giving(NUMBERS.astype("f2")), f"dtype float32, got float16{OF_DTYPE}"),
        (giving(NUMBERS.astype("c8")), f"dtype float32, got complex64{OF_DTYPE}"),
        (giving(NUMBERS.astype("U3")), f"dtype float32, got <U3{OF_DTYPE}"),
        (giving(NUMBERS.tolist()), f"dtype float32, got float64{OF_DTYPE}"),
        (
            giving(with_bad(np.nan)),
            "finite values, got 1 that are not, the first nan at [1, 2]",
        ),
        (
            giving(with_bad(-np.inf, ">f4")),
            "finite values, got 1 that are not, the first -inf at [1, 2]",
        ),
    ],
)
def test_what_is_refused(function: Any, message: str) -> None:
    with pytest.raises(InitializerError) as caught:
        call(function)
    assert str(caught.value) == f"a/k: initializer 'f': expected {message}"


def test_bfloat16_that_is_not_finite_is_noticed() -> None:
    with pytest.raises(InitializerError, match=r"first nan at \[1, 2\]"):
        call(giving(with_bad(np.nan, BFLOAT16)), dtype="bfloat16")


def test_a_long_message_is_cut() -> None:
    with pytest.raises(InitializerError) as caught:
        call(raising(ValueError("x" * 10_000)))
    assert len(str(caught.value)) < 700


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        call(raising(KeyboardInterrupt()))


def test_nothing_is_left_of_an_output(tmp_path: Path) -> None:
    plan = plan_with({"f": giving(None)}, {"a": "ones", "k": "f"})
    with pytest.raises(InitializerError, match="a/k: "):
        write(plan, tmp_path / "w", jobs=2)
    assert list(tmp_path.iterdir()) == []


# --- other libraries ----------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool"])
def test_tensorflow(dtype: str) -> None:
    tf = import_oracle("tensorflow")
    expected = NUMBERS.astype(numpy_dtype(dtype))

    def tensor(shape: Any, dtype: str) -> Any:
        return tf.cast(tf.reshape(tf.range(6), shape), dtype)

    def variable(shape: Any, dtype: str) -> Any:
        return tf.Variable(tensor(shape, dtype))

    for function in (tensor, variable, tf.function(tensor, autograph=False)):
        got = call(function, dtype=dtype)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got.astype("f4"), expected.astype("f4"))


@pytest.mark.oracle
def test_what_tensorflow_has_that_is_no_array() -> None:
    tf = import_oracle("tensorflow")
    for value, message in (
        (tf.sparse.from_dense(NUMBERS), "got SparseTensor"),
        (tf.constant([["a", "b", "c"]] * 2), "got EagerTensor"),
        (tf.cast(NUMBERS, "float64"), "got float64"),
        (tf.constant(with_bad(np.inf)), r"first inf at \[1, 2\]"),
    ):
        with pytest.raises(InitializerError, match=message):
            call(giving(value))


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_keras(dtype: str) -> None:
    keras = import_oracle("keras")
    got = call(lambda shape, dtype: keras.ops.full(shape, 2, dtype), dtype=dtype)
    np.testing.assert_array_equal(got.astype("f4"), np.full((2, 3), 2, "f4"))
    got = call(
        lambda shape, dtype: keras.Variable(keras.ops.full(shape, 3, dtype), dtype=dtype),
        dtype=dtype,
    )
    np.testing.assert_array_equal(got.astype("f4"), np.full((2, 3), 3, "f4"))
    with pytest.raises(InitializerError, match="got KerasTensor"):
        call(lambda shape, dtype: keras.KerasTensor(shape, dtype))


@pytest.mark.oracle
def test_a_subclass_of_keras_goes_to_the_file_and_back(tmp_path: Path) -> None:
    keras = import_oracle("keras")

    class Shifted(keras.initializers.RandomNormal):  # type: ignore[misc, name-defined]
        def __init__(self, shift: float = 1.0, **others: Any) -> None:
            super().__init__(**others)
            self.shift = shift

        def __call__(self, shape: Any, dtype: Any = None) -> Any:
            return super().__call__(shape, dtype) + self.shift

        def get_config(self) -> Any:
            return {**super().get_config(), "shift": self.shift}

    serialized = keras.initializers.serialize(Shifted(shift=2.0, stddev=0.1, seed=3))
    weights = {"k": {"Shifted": {"stddev": 0.5}}, "m": serialized}
    objects = {"Shifted": Shifted}
    plan = plan_with(objects, weights)
    k, m = (tensor.initializer_config() for tensor in plan.tensors)
    assert m == {"class_name": "Shifted", "config": serialized["config"]}
    assert k["config"].keys() == {"mean", "stddev", "seed", "shift"}
    assert isinstance(k["config"]["seed"], int)
    write(plan, tmp_path / "1")
    write(plan_with(objects, {"k": k, "m": m}, seed=1), tmp_path / "2")
    expected = Shifted(shift=2.0, stddev=0.1, seed=3)((4, 3), "float32").numpy()
    for folder in ("1", "2"):
        got = {name: np.load(tmp_path / folder / "a" / f"{name}.npy") for name in "km"}
        np.testing.assert_array_equal(got["m"], expected, strict=True)
        again = Shifted(**k["config"])((4, 3), "float32").numpy()
        np.testing.assert_array_equal(got["k"], again, strict=True)


def test_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    numbers = torch.arange(6.0).reshape(2, 3)
    for value in (
        numbers,
        numbers.clone().requires_grad_(),
        torch.nn.Parameter(numbers) * 1,
        numbers.T.contiguous().T,
        torch.complex(numbers * 0, -numbers).conj().imag,  # its negation is still to be done
    ):
        np.testing.assert_array_equal(call(giving(value)), NUMBERS, strict=True)
    for value in (numbers, numbers.T.contiguous().T):
        got = call(giving(value.bfloat16()), dtype="bfloat16")
        assert got.dtype == BFLOAT16
        np.testing.assert_array_equal(got.astype("f4"), NUMBERS)
    assert call(giving(torch.tensor(3)), (), "i8") == 3
    assert call(giving(torch.tensor(1.5).bfloat16()), (), "bfloat16") == 1.5
    for value, message in (
        (numbers.double(), "expected dtype float32, got float64"),
        (numbers.bfloat16(), "expected dtype float32, got bfloat16"),
        (numbers.to(torch.float8_e4m3fn), "got Tensor .*[Ff]loat8_e4m3fn"),
        (numbers.to_sparse(), "got Tensor .a sparse one; return its to_dense"),
        (numbers.to("meta"), "got Tensor .*meta"),
        (numbers / 0, r"got 6 .* first nan at \[0, 0\]"),
    ):
        with pytest.raises(InitializerError, match=message):
            call(giving(value))


def test_jax() -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")

    def drawn(shape: Any, dtype: str, seed: int) -> Any:
        return jax.random.normal(jax.random.key(seed), shape, dtype)

    for dtype in ("float32", "bfloat16"):
        first, again = call(drawn, dtype=dtype), call(jax.jit(drawn, static_argnums=(0, 1)))
        assert first.dtype == numpy_dtype(dtype)
        assert np.isfinite(first.astype("f4")).all()
        assert first.std() > 0
        assert again.dtype == np.float32
    with pytest.raises(InitializerError, match="an array, got PRNGKeyArray"):
        call(giving(jax.random.key(1)))
    with pytest.raises(InitializerError, match="got 6 that are not"):
        call(lambda shape, dtype: jax.numpy.full(shape, np.inf, dtype))
