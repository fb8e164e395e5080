"""A spec's lock: one digest for each tensor, to be checked into version control beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinit_cli.errors import KinitError, OutputError
from kinit_cli.formats.atomic import staged
from kinit_cli.manifest import TensorRecord, parse_record, parse_whole

#: Version of the lock's own structure.
LOCK_VERSION = 1
LOCK_SUFFIX = ".lock"
_MARK = b'"kinit_lock"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What a spec gives.

    Attributes
    ----------
    stream : int
        Version of the value stream.
    spec_digest : str
        BLAKE3 of the spec as plain data, the seed in it: its canonical JSON, with sorted keys.
    tensors : mapping of str to TensorRecord
        In the order of the spec.
    """

    stream: int
    seed: int
    spec_digest: str
    tensors: Mapping[str, TensorRecord]

    def to_json(self) -> dict[str, object]:
        """Give plain data with stable keys."""
        return {
            "stream": self.stream,
            "seed": self.seed,
            "spec_digest": self.spec_digest,
            "n_tensors": len(self.tensors),
            "tensors": [
                {
                    "path": path,
                    "shape": list(record.shape),
                    "dtype": record.dtype,
                    "digest": record.digest,
                }
                for path, record in self.tensors.items()
            ],
        }

    def text(self) -> str:
        """Give the lock as it is written: JSON with a line for each tensor."""
        head = {
            "kinit_lock": LOCK_VERSION,
            "stream": self.stream,
            "seed": self.seed,
            "spec_digest": self.spec_digest,
        }
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
        tensors = [f"    {json.dumps(p)}: {_record_text(r)}" for p, r in self.tensors.items()]
        return "\n".join(["{", *lines, '  "tensors": {', ",\n".join(tensors), "  }", "}", ""])


def default_lock_path(spec: str) -> Path:
    """Give the place of a spec's lock: beside it, with `.lock` after its name."""
    return Path(spec + LOCK_SUFFIX)


def write_lock(lock: Lock, path: Path) -> None:
    """Write a lock in place of the one that is there, at once or not at all.

    Raises
    ------
    OutputError
        There is a file that is no lock, or the system refused.
    """
    if path.exists() and path.is_file():
        with path.open("rb") as file:
            if _MARK not in file.read(256):
                raise OutputError(f"{path} exists and is no lock; choose another name with -o")
    with staged(path, is_directory=False, force=True) as temporary:
        temporary.write_text(lock.text(), encoding="ascii")


def read_lock(path: Path) -> Lock:
    """Read a lock; nothing in it is believed before its type is checked.

    Raises
    ------
    KinitError
        There is none, or it is damaged, or of a newer version.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["kinit_lock"] != LOCK_VERSION:
            raise KinitError(
                f"{path}: expected a lock of version {LOCK_VERSION}, got {raw['kinit_lock']!r}; "
                "a newer kinit may read it"
            )
        return Lock(
            stream=parse_whole(raw["stream"]),
            seed=parse_whole(raw["seed"]),
            spec_digest=str(raw["spec_digest"]),
            tensors={str(p): parse_record(record) for p, record in raw["tensors"].items()},
        )
    except FileNotFoundError as error:
        raise KinitError(
            f"{path}: expected the spec's lock, got no such file; `kinit lock` writes it"
        ) from error
    except OSError as error:
        raise KinitError(f"{path}: expected a readable lock, got: {error.strerror}") from error
    except KeyError as error:
        raise KinitError(_damaged(path, f"it has no {error}")) from error
    except (TypeError, AttributeError) as error:
        raise KinitError(_damaged(path, "it is not arranged as one")) from error
    except (ValueError, RecursionError) as error:
        raise KinitError(_damaged(path, str(error))) from error


def _damaged(path: Path, what: str) -> str:
    # What does not look like a lock any more is not written over.
    return f"{path}: expected a lock, got a damaged one ({what}); delete it and run `kinit lock`"


def _record_text(record: TensorRecord) -> str:
    return json.dumps({"dtype": record.dtype, "shape": list(record.shape), "digest": record.digest})
