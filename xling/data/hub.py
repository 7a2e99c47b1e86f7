"""Raw files of data sets: in the user's folder, else from the Hugging Face hub or its local cache.

Only named files are taken, never a data set's script.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xling.config.schema import DatasetConfig
from xling.errors import DataError


def fetch(
    config: DatasetConfig,
    repo: str,
    filename: str,
    *,
    names: Sequence[str] = (),
    bare: bool = True,
    revision: str | None = None,
) -> Path:
    """The local path of one raw file.

    With ``path`` a folder, the file is looked for below it: at ``filename`` as the hub lays it
    out, at its last part alone, and under ``names``; the hub is then not asked. Without ``path``
    it is downloaded, or found in the hub's local cache when offline.

    Args:
        repo: of a data set on the hub, ``owner/name``; "" when no hub has the file.
        filename: within the repo.
        names: further relative paths it may have below ``path``.
        bare: whether its last part alone tells it; not where each language's file has the same.
        revision: of the repo; its main branch by default.

    Raises:
        DataError: it is not there; the message names the file and where to put it.
    """
    if config.path is not None:
        folder = Path(config.path).expanduser()
        if found := find(folder, [filename, *([filename.rpartition("/")[2]] if bare else []), *names]):
            return found
        raise DataError(f"{folder}: has no {filename}; put that file there{f' (from {repo})' if repo else ''}")
    if not repo:
        raise DataError(f"dataset {config.dataset!r} needs `path`: a folder with {filename}")
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(repo, filename, repo_type="dataset", revision=revision))
    except Exception as error:  # unreachable, unknown, gated: its HTTP library's errors have no public base
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"dataset {config.dataset!r}: {filename} of {repo} cannot be had from the hub or its cache ({reason}); "
            "download the file elsewhere and name its folder as `path`"
        ) from error


def find(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of some relative paths that is a file below a folder; None when none is, or none may be seen."""
    return next((folder / name for name in names if _is_file(folder / name)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # below a folder of another user's, as lost+found
        return False
