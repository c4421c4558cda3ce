"""A search by Optuna: trials are ordinary runs, what they gave is kept in an SQLite file, and it goes on where it was.

One process asks and decides; the runs are made wherever those of a sweep are, and end or pause at the epochs at which
successive halving decides, so that no worker reads the study. What is drawn is a function of the search's seed, the
trial's number and the trials that ended before: with one run at a time, killed or not, the search is the same.

Sources: Bergstra et al., Algorithms for Hyper-Parameter Optimization (2011), tree-structured Parzen estimators; Li et
al., A System for Massively Parallel Hyperparameter Tuning (2020), asynchronous successive halving; both as Optuna has
them: a trial goes on at a rung by those that reached it before, and never comes back.
"""

import json
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supcrd import recipe as recipes
from supcrd.base.locks import locked
from supcrd.base.wording import show
from supcrd.errors import RecipeError, RunError, SupcrdError, one_line
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import RunFolder
from supcrd.sweep.drawn import draw, sampler
from supcrd.sweep.plan import Job, Outcome, plan
from supcrd.sweep.run import Report, run_jobs
from supcrd.sweep.space import Search
from supcrd.sweep.trials import MEASURE, Trial, folder_of, summary, trials_of, write_summary

DATABASE = "study.db"
FREE = ("trials",)  # may differ when a search goes on: more can be asked for


def search_all(
    search: Search,
    out: Path,
    *,
    executor: Executor | None = None,
    workers: int = 1,
    most: int | None = None,
    devices: int = 1,
    report: Report | None = None,
) -> tuple[list[Trial], dict[str, Any]]:
    """Make the trials of a search, from where an earlier call left off.

    Args:
        search: of a sweep file.
        out: the folder of run folders.
        executor, workers, devices, report: as for `run_all`.
        most: trials at a time with an `executor`, which needs it: each is drawn by what those before it gave.

    Returns:
        All trials, and what `trials.summary` says of them.

    Raises:
        SupcrdError: Optuna is not installed; data without validation images; `out` holds another search of this name.
        KeyboardInterrupt: as `run_all`; the same call goes on.
    """
    if workers < 1:
        raise SupcrdError(f"workers = {workers} is not 1 or more")
    if executor is not None and most is None:
        raise RecipeError("a search on a cluster needs cluster.workers, the trials at a time: the fewer, the more each "
                          "can go by those before it")  # fmt: skip
    need()
    check_validation(search.make({}))
    with opened(search, out) as study:
        jobs = study.begin(workers if most is None else most)
        try:
            run_jobs(jobs, out, executor=executor, workers=workers, most=most, devices=devices, report=report,
                     then=study.then)  # fmt: skip
        finally:
            trials = trials_of(search, study.study)
            result = summary(search, trials)
            write_summary(search, out, result)
    return trials, result


def need() -> Any:
    """Optuna.

    Raises:
        SupcrdError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise SupcrdError("optuna is not installed here, which [search] needs: pip install 'supcrd[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@contextmanager
def opened(search: Search, out: Path) -> Iterator["Study"]:
    """The study of a search, begun or gone on with; no other process may work on it meanwhile.

    Raises:
        SupcrdError: Optuna is not installed; the folder holds another search; another process works on it.
    """
    optuna = need()
    folder = folder_of(search, out)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=False):
        try:
            yield Study(optuna, search, out, _storage(optuna, folder / DATABASE))
        except optuna.exceptions.OptunaError as error:  # a full disk, a database that something else holds
            raise RunError(f"{folder / DATABASE} cannot be used: {one_line(str(error), 120)}") from error


def _storage(optuna: Any, path: Path) -> Any:
    from sqlalchemy import URL
    from sqlalchemy.exc import SQLAlchemyError

    try:
        address = URL.create("sqlite", database=str(path.absolute())).render_as_string()
        return optuna.storages.RDBStorage(address)
    except (SQLAlchemyError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise RunError(f"{path} is no study that Optuna {optuna.__version__} can read: {why}") from None


class Study:
    """A search under way: gives jobs, and hears what became of them.

    Args:
        optuna: the package.
        search: of the sweep file.
        out: the folder of run folders.
        storage: Optuna's.

    Raises:
        RunError: the storage has another search.
    """

    def __init__(self, optuna: Any, search: Search, out: Path, storage: Any) -> None:
        self.optuna, self.search, self.out = optuna, search, out
        settings = search.settings
        halving = optuna.pruners.SuccessiveHalvingPruner(settings.min_epochs, settings.factor)
        pruner = halving if settings.pruner == "halving" else optuna.pruners.NopPruner()
        self.study = optuna.create_study(
            storage=storage, study_name=search.name, direction="maximize", load_if_exists=True, pruner=pruner
        )
        self.jobs: dict[str, Job] = {}
        self.running: dict[str, Any] = {}  # name of a run -> its trial
        self._check()

    def _check(self) -> None:
        """Refuse to go on with another search than the one that was begun."""
        about = json.loads(self.search.settings.model_dump_json(exclude={*FREE}))
        base = recipes.to_table(self.search.make({}))
        about["recipe"] = {key: value for key, value in base.items() if key not in ("name", "version")}
        before = self.study.user_attrs.get("search")
        if before is None:
            self.study.set_user_attr("search", about)
            return
        about = json.loads(json.dumps(about))
        for key in about:
            if before.get(key) != about[key]:
                was, now = (show(one.get(key), 60) for one in (before, about))
                what = "another recipe" if key == "recipe" else f"search.{key} = {was}, not {now}"
                raise RunError(f"{folder_of(self.search, self.out)} holds a search with {what}; it goes on with that, "
                               "or give another name at the top of the sweep file")  # fmt: skip

    def begin(self, most: int) -> list[Job]:
        """The first jobs: of the trials that were cut, then of new ones, so many trials in all."""
        for trial in self._trials():
            if not trial.state.is_finished():
                self._go_on(self.optuna.trial.Trial(self.study, trial._trial_id))
        while len(self.running) < most and self._ask():
            pass
        return list(self.jobs.values())

    def then(self, job: Job) -> list[Job]:
        """Hear what became of a job (`sweep.run.Then`); gives what there is to do now."""
        trial = self.running.get(job.name)
        if trial is None or job.imports or job.outcome is None or job.outcome.status == "interrupted":
            return []  # a teacher; or a trial that goes on when the search does
        if job.outcome.status == "failed":
            self._end(job, "FAIL", reason=job.outcome.reason)
        elif not self._report(trial, job, job.until if job.outcome.status == "paused" else None):
            self._end(job, "FAIL", reason=f"no {MEASURE}, which a search goes by: no validation images")
        elif job.outcome.status == "paused":
            if not trial.should_prune():
                job.until, job.outcome, job.started = self._rung(trial, job.recipe), None, None
                return [job]
            job.outcome = Outcome(job.name, "pruned", seconds=job.outcome.seconds)
            self._end(job, "PRUNED")
        else:
            self._end(job, "COMPLETE", (job.outcome.evaluation or {})[MEASURE])
        before = set(self.jobs)
        self._ask()
        return [new for name, new in self.jobs.items() if name not in before]

    def _ask(self) -> bool:
        """Begin another trial; False if there are enough."""
        while (count := len(self._trials())) < self.search.settings.trials:
            self.study.sampler = sampler(self.optuna, self.search.settings, count, "")
            if self._go_on(self.study.ask()):
                return True
        return False

    def _go_on(self, trial: Any) -> bool:
        """Plan the run of a trial; False if it ends here, being no recipe or the same run as another's."""
        values = self._draw(trial)
        try:
            recipe = self.search.make(values)
            known = next((one for one in self._trials()
                          if one.user_attrs.get("run") == recipe.name and one.number < trial.number), None)  # fmt: skip
            trial.set_user_attr("run", recipe.name)
            trial.set_user_attr("values", json.dumps(values))
            if known is not None and known.user_attrs.get("values") != json.dumps(values):
                raise RecipeError(f"its run would have the name of trial {known.number}, which has other values")
            if known is not None:
                self._repeat(trial, known)
                return False
            plan([recipe], self.out, self.jobs)
        except RecipeError as error:
            trial.set_user_attr("reason", str(error))
            self.study.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)
            return False
        job = next(job for job in self.jobs.values() if job.name == recipe.name and not job.imports)
        self.running[job.name], job.until, job.wanted = trial, self._rung(trial, recipe), True
        return True

    def _repeat(self, trial: Any, known: Any) -> None:
        """End a trial whose run is that of an earlier one as that ended."""
        states = self.optuna.trial.TrialState
        if known.state not in (states.COMPLETE, states.PRUNED):
            trial.set_user_attr("reason", f"the same run as trial {known.number}")
            self.study.tell(trial.number, state=states.FAIL)
            return
        for epoch, value in known.intermediate_values.items():
            trial.report(value, epoch)
        self.study.tell(trial.number, known.value if known.state == states.COMPLETE else None, state=known.state)

    def _draw(self, trial: Any) -> dict[str, Any]:
        """The values of a trial; one that was cut has those that it had."""
        values = {}
        for key, one in self.search.space.items():
            self.study.sampler = sampler(self.optuna, self.search.settings, trial.number, key)
            values[key] = draw(trial, key, one)
        return values

    def _rung(self, trial: Any, recipe: Recipe) -> int | None:
        """The epoch at which the next decision about a trial is made; None where there is none before its end."""
        settings = self.search.settings
        decided = sum(key.startswith("completed_rung_") for key in self._frozen(trial).system_attrs)
        rung: int = settings.min_epochs * settings.factor**decided
        return rung if settings.pruner == "halving" and rung < recipe.train.epochs else None

    def _report(self, trial: Any, job: Job, until: int | None) -> bool:
        """Give Optuna a run's validation accuracy after the epoch `until`, or its last one, once; if it has one."""
        rows = [row for row in RunFolder(self.out / job.name).progress if until is None or row["epoch"] <= until]
        if not rows or MEASURE not in rows[-1]:
            return False
        if rows[-1]["epoch"] not in self._frozen(trial).intermediate_values:
            trial.report(rows[-1][MEASURE], rows[-1]["epoch"])
        return True

    def _frozen(self, trial: Any) -> Any:
        return self._trials()[trial.number]

    def _trials(self) -> list[Any]:
        """All trials, not to be changed."""
        trials: list[Any] = self.study.get_trials(deepcopy=False)
        return trials

    def _end(self, job: Job, state: str, value: float | None = None, reason: str | None = None) -> None:
        trial = self.running.pop(job.name)
        if reason is not None:
            trial.set_user_attr("reason", reason)
        self.study.tell(trial.number, value, state=self.optuna.trial.TrialState[state])


def check_validation(recipe: Recipe) -> None:
    """Refuse a search on data without validation images, before anything is trained.

    Raises:
        RecipeError: see above.
    """
    if recipe.data.validation > 0:
        return
    from supcrd.jobs.images import load_images

    if load_images(recipe.data).validation is None:
        raise RecipeError(f"search goes by the validation accuracy, and {recipe.data.source} has no validation split: "
                          "data.validation = 0.1 draws one")  # fmt: skip
