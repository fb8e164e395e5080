"""The Python API: one tensor, the tensors of a spec, a file of them, and what is in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from kinit_cli.dtypes import dtype_name
from kinit_cli.engines.registry import get_engine
from kinit_cli.engines.saving import seconds_saved_drawing
from kinit_cli.engines.whole import make_planned
from kinit_cli.foreign_code import name_of
from kinit_cli.initializers.custom import CustomInitializers
from kinit_cli.keras_objects import keras_config
from kinit_cli.means import Means
from kinit_cli.plan import Plan
from kinit_cli.planner import make_plan, plan_tensor
from kinit_cli.spec.load import LoadedSpec, Overrides, check_spec, load_spec
from kinit_cli.spec.plain import as_plain, as_python
from kinit_cli.spec.problems import ProblemList, SourceMap

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from kinit_cli.compare.checks import Verification
    from kinit_cli.compare.difference import FileDiff
    from kinit_cli.summary import FileSummary

#: A spec's file, or its contents as plain data.
Spec: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"
#: What a spec accepts as an initializer, or a custom one.
InitializerLike: TypeAlias = "str | Mapping[str, Any] | Callable[..., Any]"


def tensor(
    initializer: InitializerLike,
    shape: Sequence[int],
    *,
    seed: int | None = None,
    path: str | None = None,
    dtype: DTypeLike = "float32",
    layout: Literal["keras", "torch"] = "keras",
    jobs: int | None = None,
) -> NDArray[Any]:
    """Make one tensor: the values that a file has for it.

    Parameters
    ----------
    initializer : str, mapping or callable
        A name (``"he_normal"``), a Keras config (``{"class_name": ..., "config": {...}}``) or
        ``{"random_normal": {"stddev": 0.02}}``. One of Keras's own objects stands for its config,
        so that the values are kinit's. Any other callable is a custom one (docs/custom.md); if it
        takes a `seed`, it gets one that is derived from `seed`, 0 if absent, and `path`.
    shape : sequence of int
    seed : int, optional
        0 <= seed < 2^64. With a `path` it is the model's seed, and the tensor is the one of that
        path in a spec with that seed. Without, it is the initializer's own: tensors of equal seed
        and shape are equal. An initializer that has a seed in its config keeps that.
    path : str, optional
        ``layer/weight``.
    dtype : str or dtype
        A float dtype; an integer one for zeros, ones, constant and identity.
    layout : "keras" or "torch"
        Which axes of a kernel are its inputs and outputs, for the fans.
    jobs : int, optional
        Threads; the cores that this process may use if absent. The values do not depend on it.

    Returns
    -------
    array of `shape` and `dtype`, C-contiguous

    Raises
    ------
    SpecError
        An argument is not what a spec may have, or a random initializer has no seed.
    InitializerError
        A custom initializer failed, or returned something else than such an array.

    Examples
    --------
    >>> kernel = tensor("he_normal", (784, 256), seed=42, path="dense/kernel")
    >>> kernel.shape, kernel.dtype.name, round(float(kernel.std()), 3)
    ((784, 256), 'float32', 0.05)
    >>> tensor("glorot_uniform", (2, 2), seed=7).tolist() == tensor(
    ...     {"class_name": "GlorotUniform", "config": {"seed": 7}}, (2, 2)
    ... ).tolist()
    True
    """
    means = Means(jobs=jobs or 0)
    customs = CustomInitializers()
    config = keras_config(initializer)
    if config is not None:
        initializer = config
    elif callable(initializer):
        name = f"<{name_of(initializer)}>"
        customs = CustomInitializers(objects={name: initializer})
        initializer = name
    planned = plan_tensor(
        as_plain(initializer),
        [as_python(size) for size in shape],
        path=path,
        seed=None if seed is None else as_python(seed),
        dtype=dtype_name("float32" if dtype is None else dtype),
        layout=layout,
        customs=customs,
    )
    saved = seconds_saved_drawing(planned.draw, planned.shape, means.jobs)
    engine = get_engine("auto", seconds_saved=saved)
    return make_planned(engine, planned, jobs=means.jobs)


def arrays(
    spec: Spec,
    *,
    seed: int | None = None,
    dtype: DTypeLike | None = None,
    params: Mapping[str, float] | None = None,
    initializers: Mapping[str, Any] | None = None,
    engine: str = "auto",
    device: str | None = None,
    jobs: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Make the tensors of a spec in memory.

    Parameters
    ----------
    spec, seed, dtype, params, initializers, engine, device, jobs
        As for `generate`.

    Returns
    -------
    dict of str to array
        From each tensor's path, in the order of the spec.

    Raises
    ------
    SpecError
        With every problem of the spec.
    KinitError
        Its file cannot be read, or there is no such engine.

    Examples
    --------
    >>> layers = [{"name": "dense", "weights": {"kernel": {"shape": [3, "n"]}}}]
    >>> spec = {"seed": 42, "params": {"n": 2}, "layers": layers}
    >>> {path: values.shape for path, values in arrays(spec, params={"n": 5}).items()}
    {'dense/kernel': (3, 5)}
    """
    means = Means(engine=engine, device=device, jobs=jobs or 0)
    plan = means.drawn(_plan(spec, seed, dtype, params, initializers))
    chosen = means.engine_for(plan)
    return {one.path: make_planned(chosen, one, jobs=means.jobs) for one in plan.tensors}


def generate(
    spec: Spec,
    output: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - as the command calls it
    separator: str | None = None,
    max_shard_size: int | str | None = None,
    seed: int | None = None,
    dtype: DTypeLike | None = None,
    params: Mapping[str, float] | None = None,
    initializers: Mapping[str, Any] | None = None,
    engine: str = "auto",
    device: str | None = None,
    jobs: int | None = None,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> FileSummary:
    """Generate the weights of a spec into a file, as ``kinit generate`` does.

    Parameters
    ----------
    spec : str, path or mapping
        A YAML or JSON file, or what stands in one as plain data.
    output : str or path
        A file, or a directory if it ends in ``/``.
    format : str, optional
        The output's format, if its name does not tell.
    separator : str, optional
        Joins the parts of a path in the names of `.safetensors` and `.npz`; ``"."`` if absent.
    max_shard_size : int or str, optional
        Cut into files of so many bytes, ``5_000_000_000`` or ``"5GB"``.
    seed : int, optional
        In place of the spec's.
    dtype : str, optional
        For weights that name none.
    params : mapping of str to number, optional
        In place of the spec's params of these names.
    initializers : mapping of str to object, optional
        Custom initializers by the names that the spec has for them: functions, classes, objects
        (docs/custom.md).
    engine : str
        ``"auto"``, or the name of one; ``"keras"`` for the values of the installed Keras.
    device : str, optional
        For engine ``"tensorflow"`` or ``"auto"``: ``"cpu"``, ``"gpu"`` or ``"gpu:1"``.
    jobs : int, optional
        Threads; the cores that this process may use if absent. The bytes do not depend on it.
    force : bool
        Replace an output that exists.
    progress : callable, optional
        Called with the number of bytes that were written since the last call.

    Returns
    -------
    FileSummary
        Every tensor's statistics and digest, and the seed, drawn if there was none.

    Raises
    ------
    SpecError
        With every problem of the spec.
    OutputError
        The output exists, cannot hold the tensors or cannot be written. It is as it was.
    InitializerError
        A custom initializer failed, or returned something else than asked for.
    KinitError
        The spec's file cannot be read, or there is no such engine.
    ValueError
        `max_shard_size` is no size.

    Examples
    --------
    >>> import tempfile
    >>> layers = [{"name": "dense", "weights": {"kernel": {"shape": [784, 10]}}}]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     summary = generate({"seed": 42, "layers": layers}, f"{folder}/weights.h5")
    >>> summary.n_parameters, summary.tensors[0].digest[:16]
    (7840, 'd74a8716218b3814')
    """
    from kinit_cli import pipeline
    from kinit_cli.formats.atomic import check_is_not_spec, claim_target
    from kinit_cli.formats.registry import FormatOptions, choose_writer
    from kinit_cli.formats.shards import parse_size

    means = Means(engine=engine, device=device, jobs=jobs or 0)
    plan = _plan(spec, seed, dtype, params, initializers)
    options = FormatOptions(
        separator=separator,
        max_shard_bytes=None if max_shard_size is None else parse_size(str(max_shard_size)),
    )
    writer = choose_writer(os.fspath(output), format, n_tensors=len(plan.tensors), options=options)
    if not isinstance(spec, Mapping):
        check_is_not_spec(Path(output), spec)
    target = pipeline.Output(target=Path(output), writer=writer, force=force)
    claim_target(target.target, is_directory=writer.is_directory, force=force)
    plan = means.drawn(plan)
    chosen = means.engine_for(plan)
    return pipeline.generate(plan, target, engine=chosen, jobs=means.jobs, progress=progress)


def verify(
    file: str | os.PathLike[str],
    *,
    spec: Spec | None = None,
    seed: int | None = None,
    dtype: str | None = None,
    params: Mapping[str, float] | None = None,
    initializers: Mapping[str, Any] | None = None,
    pattern: str | None = None,
    quick: bool = False,
    engine: str = "auto",
    device: str | None = None,
    jobs: int | None = None,
) -> Verification:
    """Make a weights file's tensors again and compare every bit, as ``kinit verify`` does.

    Parameters
    ----------
    file : str or path
        A weights file of any format that kinit reads.
    spec : str, path or mapping, optional
        In place of the one that the file records; `seed`, `dtype` and `params` change it as for
        `generate`.
    initializers : mapping of str to object, optional
        Custom initializers by the names that the spec has for them.
    pattern : str, optional
        Only tensors of this path, or whose path matches it as a case-sensitive glob.
    quick : bool
        Only compare the elements' digests with those that the file records; without a `spec`.
    engine, device
        As for `generate`; values that Keras drew are drawn by Keras.
    jobs : int, optional
        Threads; the cores that this process may use if absent. The result does not depend on it.

    Returns
    -------
    Verification
        Its `is_same` says whether all is as it should be, its `differing` what is not.

    Raises
    ------
    KinitError
        The file cannot be read or made again, or the spec has problems.
    ValueError
        A spec, a change of one, or `initializers` are given where there are none to be used.
    """
    from kinit_cli.compare.verification import verify_digests, verify_file

    is_changed = any(change is not None for change in (seed, dtype, params))
    if (quick and (spec, initializers) != (None, None)) or (is_changed and spec is None):
        raise ValueError("seed, dtype, params change a spec; quick takes none, nor initializers")
    if quick:
        return verify_digests(file, pattern=pattern, jobs=jobs)
    loaded = None if spec is None else _load(spec, seed, dtype, params)
    return verify_file(
        file,
        spec=loaded,
        pattern=pattern,
        customs=CustomInitializers(objects=initializers),
        means=Means(engine=engine, device=device, jobs=jobs or 0),
    )


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    pattern: str | None = None,
    jobs: int | None = None,
) -> FileDiff:
    """Compare the tensors of two weights files, as ``kinit diff`` does.

    Parameters
    ----------
    a, b : str or path
        Weights files of any formats that kinit reads.
    rtol, atol : float, optional
        Elements are close if they are at most atol + rtol * max(|a|, |b|) apart. With neither,
        only identical tensors are the same.
    pattern, jobs
        As for `verify`.

    Returns
    -------
    FileDiff
        Its `is_same` says whether no tensor differs, its `differing` which do.

    Raises
    ------
    KinitError
        A file cannot be read.
    """
    from kinit_cli.compare.difference import diff_files
    from kinit_cli.compare.distance import Tolerance

    has_tolerance = rtol is not None or atol is not None
    tolerance = Tolerance(rtol=rtol or 0.0, atol=atol or 0.0) if has_tolerance else None
    return diff_files(a, b, pattern=pattern, tolerance=tolerance, jobs=jobs)


def _plan(
    spec: Spec,
    seed: int | None,
    dtype: DTypeLike | None,
    params: Mapping[str, float] | None,
    initializers: Mapping[str, Any] | None,
) -> Plan:
    customs = CustomInitializers(objects=initializers)
    return make_plan(_load(spec, seed, dtype, params), customs=customs)


def _load(
    spec: Spec, seed: int | None, dtype: DTypeLike | None, params: Mapping[str, float] | None
) -> LoadedSpec:
    overrides = Overrides(
        seed=as_python(seed),
        dtype=None if dtype is None else dtype_name(dtype),
        params={str(name): as_python(value) for name, value in dict(params or {}).items()},
    )
    if isinstance(spec, Mapping):
        problems = ProblemList(SourceMap(source="spec"))
        return check_spec(as_plain(spec), problems, overrides)
    return load_spec(spec, overrides)
