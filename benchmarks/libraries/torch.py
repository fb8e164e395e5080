"""torch.nn.init, which fills a tensor in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import init


def versions() -> dict[str, str]:
    return {"torch": torch.__version__.partition("+")[0]}


def make(what: str, variant: str, shape: tuple[int, int], n_threads: int) -> Callable[[], Any]:
    """Prepare a fill; there is one variant. kaiming_normal_ does not truncate."""
    torch.set_num_threads(n_threads)
    torch.manual_seed(1)
    out = torch.ones(shape)
    fill = {
        "uniform": lambda: init.uniform_(out, -0.05, 0.05),
        "normal": lambda: init.normal_(out, 0.0, 0.05),
        "truncated normal": lambda: init.trunc_normal_(out, 0.0, 0.05, -0.1, 0.1),
        "HeNormal": lambda: init.kaiming_normal_(out, nonlinearity="relu"),
        "orthogonal": lambda: init.orthogonal_(out),
    }[what]
    return lambda: fill().numpy()
