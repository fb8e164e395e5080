"""Which way of kinit stands beside which way of a peer, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass

#: torch fills a tensor that is there, and so does kinit beside it; the others make new ones.
IN_PLACE, NEW_ARRAY = "in place", "new array"
ONE_THREAD = "in place, one thread"
#: What people write with NumPy; what is fastest; that with a Generator for each thread.
AS_TYPE, NUMPY_IN_PLACE, NUMPY_THREADS = "float64, then astype", ONE_THREAD, "in place, threads"

LABELS = {"torch": "PyTorch", "keras": "Keras", "jax": "JAX", "numpy": "NumPy"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One way of kinit beside one way of a peer; see `benchmarks.libraries` for the ways."""

    what: str
    kinit: str
    peer: str
    variant: str = ""
    #: kinit is to be so many times as fast.
    target: float | None = None
    #: Whether the README shows it even if the target is met.
    is_main: bool = False

    @property
    def ways(self) -> str:
        """How the two do it, for the table."""
        if self.peer == "numpy":
            return f"{self.variant}; kinit {self.kinit}"
        return f"{self.variant}, {self.kinit}" if self.variant else self.kinit


FILLS = (
    Comparison("uniform", IN_PLACE, "torch", target=5, is_main=True),
    Comparison("uniform", NEW_ARRAY, "keras", target=3, is_main=True),
    Comparison("uniform", NEW_ARRAY, "jax", "as called"),
    Comparison("uniform", NEW_ARRAY, "jax", "jit"),
    Comparison("uniform", NEW_ARRAY, "numpy", AS_TYPE),
    Comparison("uniform", IN_PLACE, "numpy", NUMPY_IN_PLACE),
    Comparison("uniform", IN_PLACE, "numpy", NUMPY_THREADS),
    Comparison("uniform", ONE_THREAD, "numpy", NUMPY_IN_PLACE),
    Comparison("normal", IN_PLACE, "torch", target=3, is_main=True),
    Comparison("normal", NEW_ARRAY, "keras", target=5, is_main=True),
    Comparison("normal", NEW_ARRAY, "jax", "as called", target=9),
    Comparison("normal", NEW_ARRAY, "jax", "jit", target=9, is_main=True),
    Comparison("normal", NEW_ARRAY, "numpy", AS_TYPE, target=7),
    Comparison("normal", IN_PLACE, "numpy", NUMPY_IN_PLACE, target=7, is_main=True),
    Comparison("normal", IN_PLACE, "numpy", NUMPY_THREADS),
    Comparison("normal", ONE_THREAD, "numpy", NUMPY_IN_PLACE),
    Comparison("truncated normal", IN_PLACE, "torch"),
    Comparison("truncated normal", NEW_ARRAY, "keras"),
    Comparison("truncated normal", NEW_ARRAY, "jax", "as called"),
    Comparison("truncated normal", NEW_ARRAY, "jax", "jit"),
    Comparison("truncated normal", IN_PLACE, "numpy", NUMPY_IN_PLACE),
    Comparison("truncated normal", IN_PLACE, "numpy", NUMPY_THREADS),
    Comparison("truncated normal", ONE_THREAD, "numpy", NUMPY_IN_PLACE),
    Comparison("HeNormal", IN_PLACE, "torch"),
    Comparison("HeNormal", NEW_ARRAY, "keras", target=7, is_main=True),
    Comparison("HeNormal", NEW_ARRAY, "jax", "as called"),
    Comparison("HeNormal", NEW_ARRAY, "jax", "jit"),
)

#: Each peer with all threads and with one: the threads of a BLAS wait for one another by spinning,
#: so that on a busy machine one thread is faster. The faster of the two counts.
ORTHOGONALS = (
    Comparison("orthogonal", IN_PLACE, "torch", target=1),
    Comparison("orthogonal", NEW_ARRAY, "keras", target=1),
    Comparison("orthogonal", NEW_ARRAY, "jax", "as called"),
)
#: Orthogonal may take so many times as long as numpy.linalg.qr of a float64 matrix alone.
QR = Comparison("orthogonal", NEW_ARRAY, "numpy", "qr")
QR_TARGET = 1.5
