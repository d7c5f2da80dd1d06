"""``python -m tests.benchmarks`` on a made-up benchmark: what got slower is named, by CPUs of the same model only."""

import json

import pytest

from tests.benchmarks import __main__ as runner

FAKE = '''"""Made up."""
from pathlib import Path

from tests.benchmarks.form import Result, main

FIGURES = [float(word) for word in Path(__file__).with_name("figures").read_text().split()]

def measure(quick):
    for name, value in zip(("step", "launch", "steady", "single"), FIGURES):
        rounds = [value] if name == "single" else [value - 0.01, value, value + 0.01]
        yield Result.of(name, rounds, what="of plain", goal=1.2)
    yield Result.of("rate", [1 / value for value in FIGURES[:3]], what="of plain", higher_is_better=True)

if __name__ == "__main__":
    main(measure)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "machine", lambda: {"cpu": "Model A"})
    (tmp_path / "bench_fake.py").write_text(FAKE)
    (tmp_path / "figures").write_text("1.0 1.0 1.0 1.0")
    assert runner.main(["--save"], tmp_path) == 0
    return tmp_path


def test_what_got_slower_is_named(folder, capsys):
    (folder / "figures").write_text("1.3 0.7 1.015 1.5")
    capsys.readouterr()
    assert runner.main(["fake"], folder) == 1
    report = capsys.readouterr().out
    rows = {words[0]: line for line in report.splitlines() if (words := line.split())}
    assert "SLOWER, misses goal" in rows["step"]
    assert "1 ± 0.01" in rows["step"]
    assert "FASTER" in rows["launch"]
    # Within both spreads, and a single round against a single round: nothing can be told.
    assert "ER" not in rows["steady"] + rows["single"] + rows["rate"]
    assert report.splitlines()[-2:] == [
        "slower than committed, beyond both spreads:",
        "fake: of plain: step: 1.3, committed 1",
    ]


def test_another_cpu_is_shown_and_not_compared(folder, capsys, monkeypatch):
    monkeypatch.setattr(runner, "machine", lambda: {"cpu": "Model B"})
    (folder / "figures").write_text("1.3 0.7 1.015 1.5")
    assert runner.main([], folder) == 0
    report = capsys.readouterr().out
    assert "of cpu_model_a.json: another CPU, not compared" in report
    assert "SLOWER" not in report


def test_a_failed_benchmark_saves_nothing(folder, capsys):
    before = json.loads((folder / "results" / "cpu_model_a.json").read_text())
    (folder / "figures").write_text("2.0 x")
    assert runner.main(["--save"], folder) == 1
    assert capsys.readouterr().out.endswith("fake: failed\n")
    assert json.loads((folder / "results" / "cpu_model_a.json").read_text()) == before
