"""``python -m analysis.phase_diagram``: its files, and its one line for bad input."""

import csv
from dataclasses import replace

import pytest

from analysis import phase_diagram
from analysis.data.sweep import SweepError
from analysis.diagram.cells import build
from pipeline.ledger import Ledger
from tests.support.synthetic import MadeTrial, fill_ledger, make_sweep, wd_vs_orthograd


@pytest.fixture(scope="module")
def ledger_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("source") / "ledger"
    ledger = Ledger.open(str(folder), create=True)
    fill_ledger(ledger, "wd_vs_orthograd", wd_vs_orthograd())
    fill_ledger(ledger, "planned", [MadeTrial("later", {"seed": 0})])
    return str(folder)


def test_the_command_writes_its_files(ledger_uri, tmp_path, capsys):
    out = tmp_path / "deep" / "figures"
    assert phase_diagram.main(["wd_vs_orthograd", "--from", ledger_uri, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        "cells.csv",
        "cells.parquet",
        "effects.csv",
        "effects.parquet",
        "effects.png",
        "outcomes.csv",
        "outcomes.parquet",
        "phase_diagram.png",
        "report.html",
        "sensitivity.csv",
        "sensitivity.parquet",
        "waiting.csv",
        "waiting.parquet",
        "waiting.png",
    ]
    for path in out.iterdir():
        assert str(path) in said
    assert "⊥AdamW" in said
    assert "RMST(1500)" in said
    assert f"{out / 'report.html'}" in said.splitlines()[-1]
    with open(out / "outcomes.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 40
    with open(out / "cells.csv", newline="", encoding="utf-8") as file:
        rows = {row["cell"]: row for row in csv.DictReader(file)}
    assert float(rows["AdamW, weight decay 8"]["t_gen_by_tau"]) == 0.8
    assert rows["AdamW, weight decay 0"]["t_gen_median_steps"] == ""


def test_the_default_places(ledger_uri, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "ledger").symlink_to(ledger_uri)
    grid = ["--x", "weight_decay", "--y", "arm", "--tau", "800", "--width", "column", "--no-title", "--colour", "phase"]
    assert phase_diagram.main(["wd_vs_orthograd", *grid]) == 0
    picture = (tmp_path / "results/figures/wd_vs_orthograd/phase_diagram.png").read_bytes()
    assert int.from_bytes(picture[16:20], "big") == 3.3 * 200
    assert "the bar counts the seeds" in (tmp_path / "results/figures/wd_vs_orthograd/caption.txt").read_text()
    assert "RMST(800)" in capsys.readouterr().out


def test_bad_input(ledger_uri, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "some.db").write_text("")
    for arguments, expected in (
        (["wd_vs_orthograd", "--x", "nope"], "--x nope: no such axis; allowed: arm, optimizer.weight_decay, seed"),
        (["wd_vs_orthograd", "--tau", "0"], "--tau 0: must be above 0"),
        (
            ["wd_vs_orthograd", "--event", "t_gen:1.5"],
            "--event t_gen:1.5: the threshold must be a fraction between 0 and 1",
        ),
        (["wd_vs_orthograd", "--event", "t_fit"], "--event t_fit: must be one of t_mem, t_gen"),
        (["nope"], "nope"),
        (["planned"], "nothing was measured yet"),
        (["wd_vs_orthograd", "--from", str(tmp_path / "none")], "no ledger"),
        (["wd_vs_orthograd", "--from", str(tmp_path / "some.db")], "for an MLflow database "),
        (["wd_vs_orthograd", "--from", f"sqlite:///{tmp_path}/none.db"], "no such file"),
        (["wd_vs_orthograd", "--from", "http://127.0.0.1:1"], "cannot be reached"),
        (["wd_vs_orthograd", "--out", str(tmp_path / "file" / "x")], "cannot be written"),
    ):
        source = [] if "--from" in arguments else ["--from", ledger_uri]
        out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
        assert phase_diagram.main([*arguments, *source, *out]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert expected in said.err


def test_a_sweep_without_measurements_says_why():
    missing = make_sweep([MadeTrial("a", {"seed": 0}), MadeTrial("b", {"seed": 1})])
    one, other = missing.trials
    failed = replace(one, state="failed")
    for trials, why in (((one,), "run the sweep first"), ((failed,), "all trials failed"), ((failed, other), "1 of 2")):
        with pytest.raises(SweepError, match=why):
            build(replace(missing, trials=trials))


def test_help(capsys):
    with pytest.raises(SystemExit) as end:
        phase_diagram.main(["--help"])
    assert end.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for part in ("--from URI", "default: results/ledger", "results/figures/SWEEP", "Exit codes: 0 done, 2 bad input"):
        assert part in said


def test_another_threshold_from_the_ledger(ledger_uri, tmp_path, capsys):
    assert phase_diagram.main(["wd_vs_orthograd", "--from", ledger_uri, "--out", str(tmp_path / "usual")]) == 0
    usual = capsys.readouterr().out.partition("\n\n")[0]
    arguments = ["wd_vs_orthograd", "--from", ledger_uri, "--event", "t_gen:.37", "--out", str(tmp_path)]
    assert phase_diagram.main(arguments) == 0
    assert capsys.readouterr().out.partition("\n\n")[0] != usual
    with open(tmp_path / "cells.csv", newline="", encoding="utf-8") as file:
        row = next(iter(csv.DictReader(file)))
    assert (row["t_mem_threshold"], row["t_gen_threshold"]) == ("0.99", "0.37")
