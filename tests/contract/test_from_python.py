"""The tutorial is executed as it stands."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "analysis" / "tutorial.ipynb"


@pytest.mark.filterwarnings("ignore")  # Of Jupyter's own libraries; the kernel is another process.
def test_the_tutorial_runs_in_a_notebook(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(TUTORIAL, as_version=4)
    kept = json.loads(TUTORIAL.read_text(encoding="utf-8"))["cells"]
    assert not [cell for cell in kept if cell.get("outputs") or cell.get("execution_count")], "clear its outputs"
    for cell in notebook.cells:
        cell.source = cell.source.replace("horizon_steps=600", "horizon_steps=60")
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    ran, shown, table, _, curves, more, cells = outputs[1:]
    texts = "".join(output.get("text", "") for output in ran)
    assert "decay: 12 trials: 0 in the ledger, 0 to continue, 12 new" in texts
    progress = [output for output in ran if output.output_type == "display_data"]
    assert [output.data["text/plain"].split(";")[0] for output in progress] == [
        "decay [##########] 12 of 12 done, 0 running, 0 cached, 0 failed"
    ]
    assert "\x1b" not in str(ran)
    page = shown[0].data["text/html"]
    assert "Does more weight decay bring grokking sooner?" in page
    assert "data:image/png;base64," in page
    assert "final_test_accuracy" in table[0].data["text/html"]
    assert [output for output in curves if "image/png" in output.data]
    assert "20 trials: 12 in the ledger, 0 to continue, 8 new" in "".join(output.get("text", "") for output in more)
    assert "image/png" in more[-1].data
    assert "t_gen_rmst_steps" in cells[0].data["text/html"]
