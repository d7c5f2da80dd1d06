"""How long does it take to grok with weight decay, and does ⊥Grad need any?  (Prieto et al. 2025, Fig. 15)

The default MLP (226-200-200-113, no bias) on addition mod 113 with 40 % of the pairs: AdamW over its weight decay,
against ⊥AdamW without any.  Seed k is split and initialisation alike in every arm, so that the arms are paired.  The
decay arm has betas (.9, .99) and eps 1e-25, the ⊥ arm (.9, .999) and 1e-8, as the released code ran them.  The
figure's learning rate and decays were never released: .01 (as in Fig. 1) and this list are our choice.

Declared beforehand: ⊥AdamW against the decay that is best on the other seeds.  Five paired seeds cannot reach
p < .05 (2/32 at best); ten can.

Result    not run yet
Cost      not run yet
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/wd_vs_orthograd.py
"""

from pipeline.spec import Arm, SweepSpec
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.losses import SoftmaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import AdamW
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

SWEEP = SweepSpec(
    base=GrokkingTrial(
        task=ModularAddition(p=113, train_fraction=0.4),
        model=MLP(hidden=(200, 200), bias=False),
        loss=SoftmaxCrossEntropy(dtype="float32"),
        optimizer=AdamW(learning_rate=0.01, betas=(0.9, 0.99), eps=1e-25),
        horizon_steps=1500,
    ),
    arms=[
        Arm(
            name="AdamW",
            axes={"optimizer.weight_decay": [0, 0.5, 1, 2, 4, 8, 16]},
        ),
        Arm(
            name="⊥AdamW",
            patch={"gradient": OrthogonalGradient(), "optimizer.betas": (0.9, 0.999), "optimizer.eps": 1e-8},
        ),
    ],
    seeds=range(5),
)
