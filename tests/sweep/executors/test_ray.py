"""Ray: a real cluster of this machine; and what is refused."""

import sys

from supcrd import recipe as recipes
from supcrd.models.weights import load_model
from supcrd.sweep.cluster import Cluster
from supcrd.sweep.executors import ray
from supcrd.sweep.run import run_all
from typed import refused


def test_a_cluster_gives_the_run_of_this_process(tmp_path, quick):
    run = recipes.load("digits-teacher", [*quick, "name=a", "head.epochs=0", "probe.epochs=0"])
    run_all([run], tmp_path / "here")
    with ray.opened(Cluster(address="local"), tmp_path / "there") as executor:
        (outcome,) = run_all([run], tmp_path / "there", executor=executor)
    assert outcome.status == "trained", outcome
    states = [load_model(tmp_path / out / "a")[0].state_dict() for out in ("here", "there")]
    assert all((states[0][key] == states[1][key]).all() for key in states[0])


def test_what_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    path, out = tmp_path / "s.toml", tmp_path / "r"
    path.write_text('recipe = "digits-teacher"\n')
    said = refused("sweep", path, "--out", out, "--on", "ray")
    assert said == 'error: --on ray needs cluster.address: "HOST:6379", or "auto" for the cluster of this machine'
    monkeypatch.setitem(sys.modules, "ray", None)
    said = refused("sweep", path, "--out", out, "--on", "ray")
    assert said == "error: ray is not installed here, which --on ray needs: pip install 'supcrd[ray]'"
    assert not out.exists()
