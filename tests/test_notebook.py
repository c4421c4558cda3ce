"""The notebook runs from top to bottom, on few epochs, and is kept without outputs."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from typed import contents

PATH = Path(__file__).resolve().parent.parent / "notebooks" / "supcrd.ipynb"
SHORT = {"SUPCRD_NOTEBOOK_EPOCHS": "1", "SUPCRD_NOTEBOOK_SEEDS": "2", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def notebook():
    return nbformat.read(PATH, as_version=4)


def test_it_runs_from_top_to_bottom_and_trains_again_only_where_asked(notebook, tmp_path, monkeypatch):
    for name, value in SHORT.items():
        monkeypatch.setenv(name, value)
    whole = len(notebook.cells)
    training = next(cell for cell in notebook.cells if "pipeline.run" in cell.source).source
    files = "{path: path.read_bytes() for path in RUNS.rglob('*') if path.is_file()}"
    again = [
        f"before = {files}",
        training,
        f"assert before == {files}",
        "FORCE_RETRAIN, METHODS = True, ['crd']",
        training,
        f"now = {files}; assert all(now[path] == before[path] for path in now if path.suffix == '.safetensors')",
    ]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in again]
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()

    outputs = [cell.get("outputs", []) for cell in notebook.cells]
    told = ["".join(out.get("text", "") for out in cell) for cell in outputs]
    first = "".join(told[:whole])
    assert (first.count("(trained)"), first.count("already finished")) == (7, 0)  # six students and their teacher
    assert told[whole + 1].count("already finished") == 7
    assert told[whole + 4].count("(trained)") == 3
    assert "points to the baseline" in first
    assert "last loss" in first
    errors = "".join(out["text"] for cell in outputs for out in cell if out.get("name") == "stderr")
    # what two epochs are warned of, and nothing else
    assert all("saved classifier far below its probe" in line for line in errors.splitlines()), errors
    pictures = [out["data"].keys() for cell in outputs for out in cell if "data" in out]
    assert sum("image/png" in kinds for kinds in pictures) == 4
    there = {str(path) for path in contents(tmp_path)}
    assert {"figures/tsne.png", "figures/hypersphere.html"} <= there
    assert "published/json_results/comprehensive_results_resnet8_digits.json" in there


def test_it_is_kept_without_outputs_and_names_no_machine(notebook):
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)
    text = json.dumps(notebook)
    assert not any(place in text for place in ("/home/", "/root/", "/work/", "/tmp/", "/Users/"))
    assert notebook.metadata.keys() <= {"kernelspec", "language_info"}
