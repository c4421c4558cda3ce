"""Dask: a real scheduler with two workers; and what is refused."""

import sys

import pytest

from supcrd.models.weights import load_model
from supcrd.sweep.executors import dask
from supcrd.sweep.run import load_sweep, run_all
from typed import invoke, refused

SWEEP = 'recipe = "digits-teacher"\nseeds = [0, 1]\nname = "x"\n'


@pytest.fixture
def asked(tmp_path, quick):
    """A sweep file of two runs, and where it is."""
    changes = dict(change.split("=", 1) for change in [*quick, "head.epochs=0", "probe.epochs=0"])
    lines = [f'set."{key}" = {value if value.isdigit() else repr(value)}' for key, value in changes.items()]
    path = tmp_path / "s.toml"
    path.write_text(SWEEP + "\n".join(lines) + "\n")
    return path


def test_two_workers_give_the_runs_of_this_process(tmp_path, asked):
    from distributed import LocalCluster

    here = run_all(load_sweep(asked), tmp_path / "here")
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        asked.write_text(f'{asked.read_text()}[cluster]\naddress = "{cluster.scheduler_address}"\n')
        result = invoke("sweep", asked, "--on", "dask", "--out", tmp_path / "there")
    assert result.exit_code == 0, result.output
    for outcome in here:
        states = [load_model(tmp_path / out / outcome.name)[0].state_dict() for out in ("here", "there")]
        assert all((states[0][key] == states[1][key]).all() for key in states[0])


def test_what_is_refused_before_anything_is_written(tmp_path, asked, monkeypatch):
    arguments = ["sweep", asked, "--out", tmp_path / "r", "--on", "dask"]
    assert refused(*arguments) == (
        'error: --on dask needs the scheduler\'s address: cluster.address = "tcp://HOST:8786"'
    )  # fmt: skip
    text = asked.read_text()
    monkeypatch.setattr(dask, "PATIENCE", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        asked.write_text(f'{text}[cluster]\naddress = "{address}"\n')
        said = refused(*arguments)
        assert said.startswith(f"error: cluster.address = '{address}': no Dask scheduler answers (")
    monkeypatch.setitem(sys.modules, "distributed", None)
    said = refused(*arguments)
    assert said == "error: distributed is not installed here, which --on dask needs: pip install 'supcrd[dask]'"
    assert not (tmp_path / "r").exists()
