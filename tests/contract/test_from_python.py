"""What the README and the tutorial do from Python is executed as it stands."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## From Python\n")[1].split("\n## ")[0]
TUTORIAL = ROOT / "analysis" / "tutorial.ipynb"


def test_the_readme_s_lines_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    block = re.search(r"^```python\n(.*?)^```", SECTION, flags=re.MULTILINE | re.DOTALL)[1]
    # As it stands, but for MLflow's seconds and the steps.
    block = block.replace("local=True", "local=True, mlflow_uri=None").replace("horizon_steps=600", "horizon_steps=40")
    names: dict = {}
    exec(block, names)
    result = names["result"]
    assert (result.question, len(result.outcomes)) == ("Does more decay bring grokking sooner?", 9)
    assert "decay: 9 trials: 0 in the ledger, 0 to continue, 9 new" in capsys.readouterr().out
    assert (tmp_path / "decay.pdf").read_bytes().startswith(b"%PDF")
    exec(block, names)
    assert "decay: nothing to run, the ledger has all 9 trials" in capsys.readouterr().out


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
