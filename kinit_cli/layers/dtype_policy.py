"""Keras's dtype policies: which dtype the variables of a layer have."""

from __future__ import annotations

from typing import Any

from kinit_cli.dtypes import DTYPES
from kinit_cli.errors import suggest
from kinit_cli.spec.problems import ProblemList, TreePath, fmt_value

#: Policies that compute in a narrower dtype than that of the variables.
MIXED = {"mixed_float16": "float32", "mixed_bfloat16": "float32"}
POLICY_CLASSES = ("DTypePolicy", "FloatDTypePolicy", "Policy")


def variable_dtype(raw: Any, default: str, path: TreePath, problems: ProblemList) -> str | None:
    """Give the dtype of a layer's variables, or None after noting what is wrong.

    Parameters
    ----------
    raw : object
        A layer's `dtype`: null, the name of a dtype or policy, or a policy as Keras serializes it.
    default : str
        The dtype if nothing is said.
    """
    if raw is None:
        return default
    name = raw
    if isinstance(raw, dict) and raw.get("class_name") in POLICY_CLASSES:
        config = raw.get("config")
        name = config.get("name") if isinstance(config, dict) else None
    if isinstance(name, str):
        dtype = MIXED.get(name, name)
        if dtype in DTYPES:
            return dtype
    known = (*DTYPES, *MIXED)
    hint = suggest(name, known) if isinstance(name, str) else ""
    got = fmt_value(name if isinstance(name, str) else raw)
    problems.add(path, "a dtype, mixed_float16 or mixed_bfloat16", got, hint)
    return None
