"""Names of components: what JSON says leads to classes that are known, and imports nothing."""

import json
import sys
from dataclasses import dataclass

import pytest

from pipeline import sweep
from pipeline.execution.provenance import device_kind
from pipeline.ledger import Ledger
from pipeline.ledger.__main__ import main as ledger_command
from tests.support.ledger_samples import commit_steps
from tests.support.sweep_runs import write_space
from trainables.engine.config import Config, from_json
from trainables.engine.names import component_name, find, import_house
from trainables.engine.optimizers import AdamW


@dataclass(frozen=True, kw_only=True)
class Mine(Config):
    """A component of another package."""


def test_ours_go_by_the_class_name_and_others_by_their_module_too():
    assert component_name(AdamW) == "AdamW"
    assert find("AdamW") is AdamW
    assert component_name(Mine) == f"{__name__}:Mine"
    assert from_json(Mine().to_json()) == Mine()
    assert find("Mine") is None
    assert f"{__name__}:Mine" not in import_house()


@pytest.mark.parametrize("name", ["bad_module:Measuring", "bad_module"])
def test_nothing_is_imported_because_a_ledger_names_it(tmp_path, monkeypatch, capsys, name):
    (tmp_path / "bad_module.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    config_json = json.dumps({"class": name, "measuring": {"class": name}})
    commit_steps(ledger, "t", range(5), config_json=config_json, device_kind=device_kind("cpu"), train_s=1.0)
    write_space(tmp_path, "base=BASE")
    assert ledger_command(["verify", "--ledger", "ledger"]) == 0
    flags = ["--ledger", "ledger", "--mlflow-uri", "none", "--device", "cpu"]
    assert sweep.main(["tiny.py", "--dry-run", *flags]) == 0, capsys.readouterr().err
    assert "bad_module" not in sys.modules
