"""Which gradient rules hasten grokking, without weight decay and with it?

An MLP 62-100-100-31 on addition mod 31, half of the pairs, AdamW at learning rate .01.  The rules change the gradient
before AdamW sees it: ⊥Grad off the weights (Prieto et al. 2025), tensor by tensor or row by row; Grokfast (Lee et al.
2024) adds a running mean of past gradients, by an average or over a window.  Egalitarian gradient descent (Pasand and
Dohmatob 2025) replaces it by its polar factor and descends by SGD, as its authors do.

Result    not run
Cost      not run
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/gradient_rules.py
"""

from pipeline import Arm, SweepSpec
from trainables import (
    MLP,
    SGD,
    AdamW,
    EgalitarianGradientDescent,
    GrokfastEMA,
    GrokfastMA,
    GrokkingTrial,
    IterativeOrthogonalGradient,
    ModularAddition,
    OrthogonalGradient,
)

SWEEP = SweepSpec(
    base=GrokkingTrial(
        task=ModularAddition(p=31, train_fraction=0.5),
        model=MLP(hidden=(100, 100)),
        optimizer=AdamW(learning_rate=0.01),
        horizon_steps=2000,
    ),
    axes={"optimizer.weight_decay": [0, 1]},
    arms=[
        Arm(name="AdamW"),
        Arm(name="⊥ by tensor", patch={"gradient": OrthogonalGradient()}),
        Arm(name="⊥ by row and column", patch={"gradient": IterativeOrthogonalGradient()}),
        Arm(name="Grokfast EMA", patch={"gradient": GrokfastEMA()}),
        Arm(name="Grokfast MA", patch={"gradient": GrokfastMA(steps=50)}),
        Arm(name="EGD", patch={"gradient": EgalitarianGradientDescent(), "optimizer": SGD(learning_rate=0.1)}),
    ],
    seeds=range(5),
)
