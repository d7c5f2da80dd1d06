"""Where does a small network grok?  Training fraction against weight decay, in less than a minute.

An MLP 46-64-64-23 on addition mod 23, AdamW at learning rate 0.02: a miniature of the other spaces, and the one that
the tests run.  It is fast, and its map contains every phase.

Result    2026-11-22: without decay no network generalises within 400 steps.  With decay 1 to 4, all do when trained on
          0.9 of the pairs, most on 0.8, some on 0.7 and none on 0.6.  With decay 8 none does, and few memorise.
Cost      about 30 CPU-seconds of training; 40 seconds in total, including Ray's start, MLflow and the figures
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/quick.py
"""

from pipeline import SweepSpec
from trainables import MLP, AdamW, GrokkingTrial, ModularAddition

SWEEP = SweepSpec(
    base=GrokkingTrial(
        task=ModularAddition(p=23),
        model=MLP(hidden=(64, 64)),
        optimizer=AdamW(learning_rate=0.02),
        horizon_steps=400,
    ),
    axes={
        "optimizer.weight_decay": [0, 1, 2, 4, 8],
        "task.train_fraction": [0.5, 0.6, 0.7, 0.8, 0.9],
    },
    seeds=range(3),
)
