"""A run in MLflow: where MLFLOW_TRACKING_URI says, a server or a local database such as sqlite:///mlflow.db."""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supcrd.errors import RecipeError, one_line
from supcrd.runs.folder import RunFolder
from supcrd.tracking.tracker import identity, is_number, missing, numbers, settings

EXPERIMENT = "supcrd"
"""Where the user names none by MLFLOW_EXPERIMENT_NAME."""
TAG = "supcrd.id"
"""Tag that a run is known by when it is resumed."""
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Of a server that does not answer, where the user has not chosen: by itself MLflow waits for many minutes."""
STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
MOST = 100
"""Parameters of one request; servers take no more."""


def check() -> None:
    """Refuse, in one line, where mlflow is not installed, or its store does not answer.

    Raises:
        RecipeError: see above.
    """
    try:
        client = _client()
    except ImportError:
        raise missing("mlflow") from None
    try:
        client.search_experiments(max_results=1)
    except Exception as error:  # an unknown scheme, no server, a damaged database: each has its own
        where = f"the tracker mlflow cannot use its store ({one_line(str(error), 90)})"
        raise RecipeError(f"{where}: is MLFLOW_TRACKING_URI right? (the package: supcrd[mlflow])") from None


def _client() -> Any:
    """Raises ImportError where mlflow is not installed."""
    for key, value in PATIENCE.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient

    return MlflowClient()


class Tracker:
    """See `supcrd.tracking.tracker.Tracker`.

    What is there already the store says: a run is found again by its tag, and only what it lacks is sent.

    Args:
        run: whose tracked run this is.
    """

    def __init__(self, run: RunFolder) -> None:
        self.client, self.run = _client(), run
        self.id = self._found(identity(run))
        there = self.client.get_run(self.id).data
        self.sent = {(key, metric.step) for key in there.metrics
                     for metric in self.client.get_metric_history(self.id, key)}  # fmt: skip
        """what the store has: (name, epoch)"""
        self.last = 0
        shown = {key: str(value) for key, value in settings(run.recipe).items() if key not in there.params}
        self._parameters(shown)
        self.client.update_run(self.id, status="RUNNING")

    def _found(self, name: str) -> str:
        """The id of the run, which is begun where there is none."""
        from mlflow.exceptions import MlflowException

        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        known = self.client.get_experiment_by_name(experiment)
        if known is None:
            with contextlib.suppress(MlflowException):  # another run of the sweep was first
                self.client.create_experiment(experiment)
            known = self.client.get_experiment_by_name(experiment)
        group = str(known.experiment_id)
        runs = self.client.search_runs([group], filter_string=f"tags.`{TAG}` = '{name}'")
        run = runs[0] if runs else self.client.create_run(group, run_name=self.run.name, tags={TAG: name})
        return str(run.info.run_id)

    def _parameters(self, shown: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        params = [Param(key, value[:6000]) for key, value in shown.items()]  # as long as MLflow takes
        for first in range(0, len(params), MOST):
            self.client.log_batch(self.id, params=params[first : first + MOST])

    def _metrics(self, values: Mapping[str, Any], epoch: int) -> None:
        """Send the numbers that are not there yet."""
        from mlflow.entities import Metric

        fresh = {key: value for key, value in values.items() if is_number(value) and (key, epoch) not in self.sent}
        now = round(1000 * time.time())
        if fresh:
            self.client.log_batch(self.id, metrics=[Metric(key, value, now, epoch) for key, value in fresh.items()])
            self.sent |= {(key, epoch) for key in fresh}

    def epochs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send the epochs that are not there yet, an epoch a step."""
        for row in rows:
            self._metrics({key: value for key, value in row.items() if key != "epoch"}, row["epoch"])
            self.last = row["epoch"]

    def evaluated(self, evaluation: Mapping[str, Any]) -> None:
        """Metrics at the last epoch; the recipe as a file."""
        self._metrics(numbers(evaluation), self.last)
        self.client.log_artifact(self.id, str(self.run.recipe_file))

    def pictures(self, files: Mapping[str, Path]) -> None:
        """Files of the run, beside the recipe."""
        for file in files.values():
            self.client.log_artifact(self.id, str(file), "figures")

    def model(self, files: Sequence[Path]) -> None:
        """Files of the run too."""
        for file in files:
            self.client.log_artifact(self.id, str(file), "model")

    def close(self, status: str) -> None:
        """End the session; a run that was cut runs again when it is resumed."""
        self.client.set_terminated(self.id, STATUS[status])
