"""Does holding norms hasten grokking: of the weights, of the activations, of the update?

An MLP 46-64-64-23 on addition mod 23, 80 % of the pairs, AdamW at learning rate .02 without decay.  A clamp holds the
norm of all weights at a multiple of the initial one (after Khanh et al. 2026); a penalty holds hidden activations near
a sphere (after Tiwari et al. 2026), from the start or from step 200 on; a projection takes the part along the weights
out of every update.  Weight decay 2 is beside them.

Choices   the setting of quick.py, taken after a first look at addition mod 31 and half of the pairs, where nothing but
          ⊥Grad without decay groks within 2000 steps
Result    2026-11-27, 5 seeds, 1000 steps.  Only decay 2 groks: t_gen at 248 [196, 313], in all seeds.  The clamp
          decides by its norm: test accuracy at the end .03, .08 and .84 at half, once and twice the initial norm, with
          .06, .10 and .94 of the training rows, so that the norm of the start is too tight to memorise.  So is an
          update without its part along the weights (.13 of the training rows).  The sphere memorises at every strength,
          early or late, and ends at test accuracies of at most .02
Cost      54 166 steps, 50 s
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/penalties_and_clamps.py
"""

from pipeline import Arm, SweepSpec
from trainables import (
    MLP,
    ActivationSphere,
    AdamW,
    GrokkingTrial,
    ModularAddition,
    NormClamp,
    OrthogonalUpdate,
    SwitchPenalty,
)

SWEEP = SweepSpec(
    base=GrokkingTrial(
        task=ModularAddition(p=23, train_fraction=0.8),
        model=MLP(hidden=(64, 64)),
        optimizer=AdamW(learning_rate=0.02),
        horizon_steps=1000,
    ),
    arms=[
        Arm(name="nothing"),
        Arm(name="decay 2", patch={"optimizer.weight_decay": 2}),
        Arm(name="clamp", patch={"update": NormClamp()}, axes={"update.ratio": [0.5, 1, 2]}),
        Arm(name="⊥ update", patch={"update": OrthogonalUpdate()}),
        Arm(name="sphere", patch={"penalty": ActivationSphere()}, axes={"penalty.strength": [0.01, 0.1, 1]}),
        Arm(
            name="sphere from 200",
            patch={"intervention": SwitchPenalty(at_step=200, to=ActivationSphere())},
            axes={"intervention.to.strength": [0.1, 1]},
        ),
    ],
    seeds=range(5),
)
