"""How long does it take to grok with weight decay, and does ⊥Grad need any?  (Prieto et al. 2025, Fig. 15)

The default MLP (226-200-200-113, no bias) on addition mod 113 with 40 % of the pairs: AdamW with several weight decays
against ⊥AdamW without decay.  Seed k gives the same split and initial weights in every arm, so the arms are paired.
The decay arm has betas (.9, .99) and eps 1e-25, the ⊥ arm (.9, .999) and 1e-8, as in the released code.  The figure's
learning rate and decays were never released: .01 (as in Fig. 1) and this list are our choice.

Declared in advance: compare ⊥AdamW with the decay that is best on the other seeds.  Five paired seeds cannot reach
p < .05 (2/32 at best); six can.

Result    2026-11-22, estimated anew 2026-11-27; 5 seeds, t_gen in steps with 95 % intervals: decay 0 never; .5: 969
          [863, 1089]; 1: 530 [467, 601]; 2: 311 [291, 331]; 4: 221 [202, 242]; 8: 192 [186, 198]; 16 never, and no
          seed memorises.  ⊥AdamW without decay: 115 [91, 147].  Where it comes, it comes in all five seeds, P 1 [.48,
          1].  ⊥AdamW against the best decay: .60 [.47, .77] times as long, RMST -75 [-459, +339], p = .0625, the
          smallest p that five pairs can give.  This reproduces the U-shape of Fig. 15a and the failure at its large
          end, and ⊥Grad needs no decay.  In these seeds it is faster than every decay; that is not yet a verdict.  At
          decay 8 and with ⊥Grad there is hardly a delay: comprehension, not grokking.
Cost      29 399 steps (60 000 if nothing stopped early); 9 to 14 minutes, depending on the speed of matrix products
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/wd_vs_orthograd.py
"""

from pipeline import Arm, SweepSpec
from trainables import MLP, AdamW, GrokkingTrial, ModularAddition, OrthogonalGradient, SoftmaxCrossEntropy

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
    contrasts=[("⊥AdamW", "AdamW")],
    seeds=range(5),
)
