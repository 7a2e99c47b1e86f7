"""An MLflow store that is away at first, and comes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


class AwayStore:
    """A SQLite file whose folder cannot be made until :meth:`come` is called."""

    def __init__(self, folder: Path, new_store: Callable[[], Path]) -> None:
        self._folder, self._new_store = folder, new_store
        folder.write_text("in its way")
        self.uri = f"sqlite:///{folder}/mlflow.db"

    def come(self) -> None:
        self._folder.unlink()
        self._folder.mkdir()
        shutil.copy(self._new_store(), self._folder / "mlflow.db")

    def runs(self, experiment: str) -> dict[str, Any]:
        """By their names."""
        from xling.track.store import connect

        client = connect(self.uri)
        found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
        assert len({run.info.run_name for run in found}) == len(found)
        return {run.info.run_name: run for run in found}
