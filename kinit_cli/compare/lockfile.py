"""A spec's lock: one digest for each tensor, to be checked into version control beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinit_cli.errors import KinitError, OutputError
from kinit_cli.formats.atomic import staged
from kinit_cli.formats.json_file import check_size
from kinit_cli.manifest import TensorRecord, parse_record, parse_whole, shown

#: Version of the lock's own structure.
LOCK_VERSION = 1
LOCK_SUFFIX = ".lock"
#: A million tensors take a fifth of it.
MAX_LOCK_BYTES = 2**30
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
        raw = json.loads(_read(path))
        if raw["kinit_lock"] != LOCK_VERSION:
            raise KinitError(
                f"{path}: expected a lock of version {LOCK_VERSION}, "
                f"got {shown(raw['kinit_lock'])}; a newer kinit may read it"
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
    except (ValueError, RecursionError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise KinitError(_damaged(path, reason)) from error


def _damaged(path: Path, what: str) -> str:
    # What does not look like a lock any more is not written over.
    return f"{path}: expected a lock, got a damaged one ({what}); delete it and run `kinit lock`"


def _read(path: Path) -> str:
    if not path.is_file() and path.exists():
        raise ValueError("a special file")
    with path.open("rb") as file:
        raw = file.read(MAX_LOCK_BYTES + 1)
    if len(raw) > MAX_LOCK_BYTES:
        raise ValueError(f"more than {MAX_LOCK_BYTES} bytes")
    text = raw.decode("utf-8")
    check_size(text)
    return text


def _record_text(record: TensorRecord) -> str:
    return json.dumps({"dtype": record.dtype, "shape": list(record.shape), "digest": record.digest})
