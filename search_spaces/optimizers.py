"""Which optimizer groks soonest, without weight decay and with it?

An MLP 46-64-64-23 on addition mod 23, 80 % of the pairs.  AdamW and SGD work weight by weight; Muon makes the
singular values of each matrix's momentum equal (Jordan et al. 2024); AdamP and LaProp with ⊥Grad after the moments
project the update off the weights (Heo et al. 2021; Ziyin et al. 2020).  Learning rates are usual ones, not tuned.

Choices   the setting of quick.py, taken after a first look at addition mod 31 and half of the pairs, where nothing but
          ⊥Grad without decay groks within 2000 steps
Result    2026-11-27, 5 seeds, t_gen in steps where it comes, with 95 % intervals.  With decay 2 AdamW needs 248 [196,
          313] and AdamP 243 [189, 314], in all seeds: its projection hardly acts here.  Without decay only ⊥LaProp
          groks, in 4 of 5 seeds, at 525 [190, 1000].  Muon and SGD memorise without decay and end at test accuracies of
          .00; with decay 2 Muon memorises half.  At these untuned settings; nothing is said of tuned ones
Cost      47 497 steps, 30 s
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/optimizers.py
"""

from pipeline import Arm, SweepSpec
from trainables import MLP, SGD, AdamP, AdamW, GrokkingTrial, ModularAddition, Muon, OrthogonalLaProp

SWEEP = SweepSpec(
    base=GrokkingTrial(
        task=ModularAddition(p=23, train_fraction=0.8),
        model=MLP(hidden=(64, 64)),
        optimizer=AdamW(learning_rate=0.02),
        horizon_steps=1000,
    ),
    arms=[
        Arm(name="AdamW", axes={"optimizer.weight_decay": [0, 2]}),
        Arm(
            name="AdamP",
            patch={"optimizer": AdamP(learning_rate=0.02)},
            axes={"optimizer.weight_decay": [0, 2]},
        ),
        Arm(
            name="⊥LaProp",
            patch={"optimizer": OrthogonalLaProp(learning_rate=0.02)},
            axes={"optimizer.weight_decay": [0, 2]},
        ),
        Arm(
            name="Muon",
            patch={"optimizer": Muon(learning_rate=0.02)},
            axes={"optimizer.weight_decay": [0, 2]},
        ),
        Arm(
            name="SGD",
            patch={"optimizer": SGD(learning_rate=1.0, momentum=0.9)},
            axes={"optimizer.weight_decay": [0, 1e-4]},
        ),
    ],
    seeds=range(5),
)
