"""Objects of Keras's own initializer classes, as configs; Keras is not imported for it."""

from __future__ import annotations

from typing import Any

from kinit_cli.initializers.registry import BY_NAME


def keras_config(thing: Any) -> dict[str, Any] | None:
    """Give the config of one of Keras's own initializers, or of its class; None for what is none.

    Keras leaves the gain out of Identity's config, but the object has it.
    """
    cls = thing if isinstance(thing, type) else type(thing)
    is_keras = cls.__module__.partition(".")[0] in ("keras", "tf_keras")
    kind = BY_NAME.get(cls.__name__)
    if not is_keras or kind is None or not hasattr(thing, "get_config"):
        return None
    config = {} if isinstance(thing, type) else dict(thing.get_config())
    if kind.class_name == "Identity" and not isinstance(thing, type):
        config["gain"] = thing.gain
    return {"class_name": kind.class_name, "config": config}
