"""Checkpoints that are whole or ignored, and that a late writer cannot spoil.

A checkpoint is a folder of its own, ``step-00000300-a0002``, whose ``manifest.json`` (sizes and
checksums of all its files) is written last: a reader takes none without one, and none that
fails it. Every attempt at a cell has a number. An attempt's record names the checkpoints that it
found (``accepted``); the next attempt looks at those and at what its direct predecessor wrote.
So whatever an older attempt writes late, a process woken after it was given up, is never read.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from typing import Any

import safetensors.torch
import torch
from typing_extensions import TypedDict

from xling.errors import CheckpointError
from xling.storage import Storage
from xling.stored_json import DamagedFile
from xling.train.attempts import MANIFEST, CheckpointName, newest_attempt


class FencedError(Exception):
    """A newer attempt has taken the cell over: this process must stop writing."""


class _File(TypedDict):
    """A file of a checkpoint."""

    name: str
    bytes: int
    blake2b: str


class _Manifest(TypedDict):
    files: list[_File]


class CheckpointStore:
    """One cell's checkpoints, as one attempt sees them."""

    def __init__(self, cell: Storage, attempt: int, accepted: Iterable[str]) -> None:
        """Args: cell: the cell's folder. accepted: names that this attempt found at its start."""
        self._cell = cell
        self._attempt = attempt
        self._accepted = set(accepted)

    def path(self, name: CheckpointName) -> str:
        return f"checkpoints/{name}"

    def check_fence(self) -> None:
        """Raise FencedError when a newer attempt at this cell has begun."""
        newest = newest_attempt(self._cell)
        if newest > self._attempt:
            raise FencedError(f"attempt {self._attempt} was replaced by attempt {newest}")

    def write_file(self, step: int, name: str, data: bytes) -> dict[str, Any]:
        """Write one of a checkpoint's files; returns its entry of the manifest."""
        self._cell.write(f"{self.path(CheckpointName(step, self._attempt))}/{name}", data)
        return {"name": name, "bytes": len(data), "blake2b": _digest(data)}

    def publish(self, step: int, files: Iterable[Mapping[str, Any]], keep: Iterable[int] = ()) -> None:
        """Write the manifest, which makes the checkpoint exist; drop old ones but steps ``keep``."""
        self.check_fence()
        name = CheckpointName(step, self._attempt)
        self._cell.write_json(f"{self.path(name)}/{MANIFEST}", {"files": list(files)})
        self._accepted.add(str(name))
        self._prune(set(keep))

    def newest_valid(self) -> tuple[CheckpointName | None, list[str]]:
        """The newest whole checkpoint among those accepted, and why newer ones were passed over."""
        skipped: list[str] = []
        names = [name for text in self._accepted if (name := CheckpointName.parse(text))]
        for name in sorted(names, reverse=True):
            problem = self._problem(name)
            if problem is None:
                return name, skipped
            skipped.append(f"{name}: {problem}")
            self._accepted.discard(str(name))
        return None, skipped

    def newest_at(self, step: int) -> CheckpointName:
        """The newest checkpoint of a step. Raises CheckpointError when there is none."""
        names = [name for text in self._accepted if (name := CheckpointName.parse(text)) and name.step == step]
        if not names:
            raise CheckpointError(
                f"the checkpoint of step {step}, the best on dev, is gone: resume with --from-scratch"
            )
        return max(names, key=lambda name: name.attempt)

    def read_file(self, name: CheckpointName, file: str) -> bytes:
        """A file's bytes, held against the manifest. Raises CheckpointError when they are not what was written."""
        try:
            entries = {entry["name"]: entry for entry in self._read_manifest(name)}
            data = self._cell.read(f"{self.path(name)}/{file}")
        except FileNotFoundError as error:
            raise CheckpointError(f"a file of checkpoint {name} is missing ({error})") from error
        except DamagedFile as error:
            raise CheckpointError(f"the manifest of checkpoint {name} cannot be read") from error
        if file not in entries:
            raise CheckpointError(f"checkpoint {name} holds no {file}")
        if len(data) != entries[file]["bytes"]:
            raise CheckpointError(f"{file} holds {len(data)} bytes, its manifest says {entries[file]['bytes']}")
        if _digest(data) != entries[file]["blake2b"]:
            raise CheckpointError(f"{file} fails its checksum")
        return data

    def _read_manifest(self, name: CheckpointName) -> list[_File]:
        manifest: _Manifest = self._cell.read_json(f"{self.path(name)}/{MANIFEST}", _Manifest)
        return manifest["files"]

    def _problem(self, name: CheckpointName) -> str | None:
        try:
            for entry in self._read_manifest(name):
                self.read_file(name, entry["name"])
        except FileNotFoundError as error:
            return f"a file is missing ({error})"
        except DamagedFile:
            return "its manifest cannot be read"
        except CheckpointError as error:
            return str(error)
        return None

    def _prune(self, keep: set[int]) -> None:
        """Keep the newest of the last two steps (one to fall back to) and of the steps in ``keep``."""
        names = [name for text in self._accepted if (name := CheckpointName.parse(text))]
        steps = keep | set(sorted({name.step for name in names})[-2:])
        for name in names:
            if name.step not in steps or name != self.newest_at(name.step):
                self._accepted.discard(str(name))
        for text in self._cell.list("checkpoints"):  # with what older attempts left half-written
            found = CheckpointName.parse(text)
            if text not in self._accepted and (found is None or found.attempt <= self._attempt):
                self._cell.delete(f"checkpoints/{text}")


def tensors_to_bytes(state: Mapping[str, torch.Tensor]) -> bytes:
    """Weights in the safetensors format; tensors sharing memory are written once each."""
    data: bytes = safetensors.torch.save({name: tensor.detach().cpu().clone() for name, tensor in state.items()})
    return data


def tensors_from_bytes(data: bytes) -> dict[str, torch.Tensor]:
    return dict(safetensors.torch.load(data))


def object_to_bytes(value: Any) -> bytes:
    """Tensors, numbers, strings, lists and dicts, by ``torch.save``."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def object_from_bytes(data: bytes) -> Any:
    """Read back with ``weights_only``: nothing in a checkpoint can run code.

    Raises:
        CheckpointError: the bytes hold anything else.
    """
    try:
        return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds here
        raise CheckpointError(f"a checkpoint file cannot be read: {error}") from error


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
