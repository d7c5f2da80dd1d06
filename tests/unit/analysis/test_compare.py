"""``python -m analysis.compare``: sweeps of two ledgers side by side, paired where their seeds pair."""

from pathlib import Path

import pandas as pd
import pytest

from analysis import compare, compare_sweeps
from analysis.comparing.sweeps import COLUMNS
from analysis.data.sweep import SweepError
from pipeline.ledger import Ledger
from tests.support.synthetic import MadeTrial, fill_ledger, make_trial

DECAY = "optimizer.weight_decay"


def trials(prefix: str, seeds: range, factor: float, decays: tuple[float, ...] = (1, 2)) -> list[MadeTrial]:
    """Times of 300 and 150 steps at decay 1 and 2, times a factor; seeds vary by a tenth."""
    return [
        make_trial(f"{prefix}-{decay}-{seed}", {DECAY: decay, "seed": seed}, t_mem=20,
                   t_gen=factor * (1 + (seed % 10) / 10) * 300 / decay)
        for decay in decays
        for seed in seeds
    ]  # fmt: skip


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory) -> dict[str, str]:
    """The same question on two machines, one of which has a further decay, and one with other seeds."""
    made = {"one": trials("a", range(6), 1.0), "two": trials("b", range(6), 0.5, (2, 1, 8)),
            "others": trials("c", range(10, 16), 0.5, (2,))}  # fmt: skip
    folders = {}
    for name, each in made.items():
        folder = tmp_path_factory.mktemp(name)
        fill_ledger(Ledger.open(str(folder), create=True), name, each)
        folders[name] = str(folder)
    return folders


def test_two_ledgers(ledgers):
    comparison = compare_sweeps("one", "two", sources=[ledgers["one"], ledgers["two"]])
    assert list(comparison.settings) == ["weight decay 1", "weight decay 2"], "decay 8 is in one of them only"
    table = comparison.table
    assert {*table} <= {name for names in COLUMNS for name in names.split(", ")}
    second = table[table["sweep"] == "two"]
    assert second["ratio"].tolist() == pytest.approx([0.5, 0.5], rel=0.05)
    assert second["pairs"].tolist() == [6, 6]
    assert second["p"].tolist() == [2 / 64] * 2
    assert second["p_holm"].tolist() == [4 / 64] * 2
    means = table.set_index(["setting", "sweep"])["rmst_steps"]
    assert second["difference_steps"].iloc[0] == pytest.approx(
        means["weight decay 1", "two"] - means["weight decay 1", "one"]
    )


def test_without_shared_seeds(ledgers):
    comparison = compare_sweeps("one", "others", sources=[ledgers["one"], ledgers["others"]])
    row = comparison.table.iloc[-1]
    assert (row["pairs"], row["ratio"]) == (0, pytest.approx(0.5, rel=0.05))
    # All six are sooner than all other six: of the 924 ways to deal them out, two are as far apart.
    assert row["p"] == pytest.approx(2 / 924)
    assert row["difference_low_steps"] < row["difference_steps"] < 0


def test_the_command(ledgers, tmp_path, capsys):
    arguments = ["one", "two", "--from", ledgers["one"], ledgers["two"], "--out", str(tmp_path)]
    assert compare.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["setting", "sweep", "n"]
    assert "(6 pairs)" in lines[2]
    assert lines[6].startswith("2 comparisons of at most 6 pairs cannot reach p < 0.05 (at best 0.0625)")
    assert (tmp_path / "comparison.png").read_bytes()[:4] == b"\x89PNG"
    assert len(pd.read_csv(tmp_path / "comparison.csv")) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one"], "1 sweeps and 1 sources: must be two sweeps or more"),
        (["one", "one"], "one, one: a sweep appears twice"),
        (["one", "two", "--event", "t_speed"], "--event t_speed: must be one of t_mem, t_gen"),
        (["one", "two", "--tau", "9999"], "--tau 9999: must be above 0 and at most the sweep's horizon, 1500"),
    ],
)
def test_bad_input(ledgers, capsys, tmp_path, arguments, message):
    sources = [ledgers[name] for name in arguments if name in ledgers]
    sources = sources[:1] if len({*sources}) == 1 else sources
    assert compare.main([*arguments, "--from", *sources, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_nothing_in_common(ledgers, tmp_path, capsys):
    folder = Path(tmp_path)
    fill_ledger(
        Ledger.open(str(folder), create=True), "wide", [make_trial("x", {"model.width": 3, "seed": 0}, t_gen=100)]
    )
    with pytest.raises(SweepError, match=r"no setting in common: .*; one has .*; wide has model\.width, seed$"):
        compare_sweeps("one", "wide", sources=[ledgers["one"], str(folder)])
    arguments = ["one", "two", "wide", "--from", ledgers["one"], ledgers["two"], str(folder), "--out", str(tmp_path)]
    assert compare.main(arguments) == 0
    assert "\nwide: left out, it has no setting in common with the others\n" in capsys.readouterr().out
