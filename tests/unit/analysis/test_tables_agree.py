"""What the ledger exports and what Python gets of a sweep are the same table where both have a column."""

import numpy as np
import pandas as pd

from analysis import open_sweep
from pipeline.ledger import Ledger
from pipeline.ledger.views.export import export
from tests.support.synthetic import MadeTrial, fill_ledger, make_trial, wd_vs_orthograd

ALONE = {"delay_low_steps", "delay_high_steps", "delay_ratio_low", "delay_ratio_high"}
"""What the analysis says of two events together."""


def test_the_tables_agree(tmp_path):
    """Over arms, of which one lacks the axis; of trials that were not begun, failed, and went beyond the horizon."""
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    trials = wd_vs_orthograd(seeds=2)
    trials[3] = MadeTrial(trials[3].trial_id, trials[3].coordinates)
    trials[5] = make_trial(trials[5].trial_id, trials[5].coordinates, t_mem=30, until_steps=300, state="failed")
    fill_ledger(ledger, "made", trials)
    export(ledger, "made", tmp_path / "tables")
    ours = pd.read_parquet(tmp_path / "tables" / "trials.parquet")
    theirs = open_sweep("made", ledger).outcomes
    assert {*theirs} - {*ours} <= ALONE
    differing = []
    for name in {*theirs} & {*ours}:
        one, other = ours[name], theirs[name].replace([np.inf], np.nan)  # a table has no infinite steps
        begun = theirs["state"] != "missing"
        if not ((one == other) | (one.isna() & (other.isna() | ~begun))).all():
            differing.append(name)
    assert differing == []
