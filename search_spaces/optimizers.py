"""Which optimizer groks soonest, without weight decay and with it?

An MLP 62-100-100-31 on addition mod 31, half of the pairs.  AdamW and SGD work weight by weight; Muon makes the
singular values of each matrix's momentum equal (Jordan et al. 2024); AdamP and LaProp with ⊥Grad after the moments
project the update off the weights (Heo et al. 2021; Ziyin et al. 2020).  Learning rates are usual ones, not tuned.

Result    not run
Cost      not run
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/optimizers.py
"""

from pipeline import Arm, SweepSpec
from trainables import MLP, SGD, AdamP, AdamW, GrokkingTrial, ModularAddition, Muon, OrthogonalLaProp

SWEEP = SweepSpec(
    base=GrokkingTrial(
        task=ModularAddition(p=31, train_fraction=0.5),
        model=MLP(hidden=(100, 100)),
        optimizer=AdamW(learning_rate=0.01),
        horizon_steps=2000,
    ),
    arms=[
        Arm(name="AdamW", axes={"optimizer.weight_decay": [0, 1]}),
        Arm(
            name="AdamP",
            patch={"optimizer": AdamP(learning_rate=0.01)},
            axes={"optimizer.weight_decay": [0, 1]},
        ),
        Arm(
            name="⊥LaProp",
            patch={"optimizer": OrthogonalLaProp(learning_rate=0.01)},
            axes={"optimizer.weight_decay": [0, 1]},
        ),
        Arm(
            name="Muon",
            patch={"optimizer": Muon(learning_rate=0.02)},
            axes={"optimizer.weight_decay": [0, 1]},
        ),
        Arm(
            name="SGD",
            patch={"optimizer": SGD(learning_rate=1.0, momentum=0.9)},
            axes={"optimizer.weight_decay": [0, 1e-4]},
        ),
    ],
    seeds=range(5),
)
