"""Does ⊥AdamW make a transformer generalise sooner than weight decay does?  (Prieto et al. 2025, Fig. 6a)

A one-layer transformer (4 heads, width 128) on 40 % of the pairs mod 113 at learning rate .001: ⊥AdamW, AdamW with
decay 1.5, and AdamW without.

Choices   The figure's caption says subtraction, the released run is addition; we run both.  As released: norms after
          each sublayer, 2048 feed-forward units, dropout .1, no positions.  The released runs leave out 0 (112²
          pairs); we use all 113² pairs.  ⊥AdamW has the library's betas (.9, .999) and eps 1e-8, the other two have
          (.9, .99) and 1e-25.  The figure's x-axis is 2.5 times too large; our statement counts true steps.
Laptop    Width 64, 256 feed-forward units, learning rate .005 and 50 % of the pairs mod 59, where AdamW with decay
          generalises within 400 steps; with 70 % both arms are at 98 % by step 150, too early to compare.

Result    laptop, 2026-11-22, 3 seeds, median [range]: t95 with decay is 337 [254, 353] for addition, 388 [353, 407] for
          subtraction; without decay at most .023.  ⊥AdamW has begun to generalise in every seed but is not at .95 by
          step 500 (best .66): slower than decay here, not faster.  Decay keeps the paper's pace (five times the
          learning rate, a fifth of the steps); ⊥Grad, which takes half the steps of decay at p = 113, does not at
          p = 59.  Full, one seed of addition: t95 is 835 for ⊥AdamW and 1565 with decay, in the figure's order;
          without decay at most .010 in 1565 steps, and 31 % of the rows have collapsed; subtraction not run.
Cost      full: 30 x 2000 steps of 0.4 s if nothing stopped early, 7 hours of one core; laptop: 18 x 500 steps,
          2 minutes
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/fig06a_orthograd_transformer.py --size laptop
"""

from pipeline import Arm, SweepSpec
from trainables import (
    AdamW,
    GrokkingTrial,
    ModularAddition,
    ModularSubtraction,
    OrthogonalGradient,
    SoftmaxCrossEntropy,
    Tokens,
    Transformer,
)

BASE = GrokkingTrial(
    task=ModularAddition(p=113, train_fraction=0.4, inputs=Tokens()),
    model=Transformer(width=128, heads=4, feed_forward=2048, norm="post", positions=False, dropout=0.1),
    loss=SoftmaxCrossEntropy(dtype="float32"),
    optimizer=AdamW(learning_rate=0.001, betas=(0.9, 0.99), eps=1e-25),
    horizon_steps=2000,
)
ARMS = [
    Arm(
        name="⊥AdamW",
        patch={"gradient": OrthogonalGradient(), "optimizer.betas": (0.9, 0.999), "optimizer.eps": 1e-8},
    ),
    Arm(name="AdamW, decay 1.5", patch={"optimizer.weight_decay": 1.5}),
    Arm(name="AdamW"),
]

SWEEP = {
    "full": SweepSpec(
        base=BASE,
        axes={
            "task": [
                ModularAddition(p=113, train_fraction=0.4, inputs=Tokens()),
                ModularSubtraction(p=113, train_fraction=0.4, inputs=Tokens()),
            ],
        },
        arms=ARMS,
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=BASE.replace(
            model=Transformer(width=64, heads=4, feed_forward=256, norm="post", positions=False, dropout=0.1),
            optimizer=AdamW(learning_rate=0.005, betas=(0.9, 0.99), eps=1e-25),
            horizon_steps=500,
        ),
        axes={
            "task": [
                ModularAddition(p=59, train_fraction=0.5, inputs=Tokens()),
                ModularSubtraction(p=59, train_fraction=0.5, inputs=Tokens()),
            ],
        },
        arms=ARMS,
        seeds=range(3),
    ),
}
