"""Does holding norms hasten grokking: of the weights, of the activations, of the update?

An MLP 62-100-100-31 on addition mod 31, half of the pairs, AdamW at learning rate .01 without decay.  A clamp holds the
norm of all weights at a multiple of the initial one (after Khanh et al. 2026); a penalty holds hidden activations near
a sphere (after Tiwari et al. 2026), from the start or from step 500 on; a projection takes the part along the weights
out of every update.  Weight decay 1 is beside them.

Result    not run
Cost      not run
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
        task=ModularAddition(p=31, train_fraction=0.5),
        model=MLP(hidden=(100, 100)),
        optimizer=AdamW(learning_rate=0.01),
        horizon_steps=2000,
    ),
    arms=[
        Arm(name="nothing"),
        Arm(name="decay 1", patch={"optimizer.weight_decay": 1}),
        Arm(name="clamp", patch={"update": NormClamp()}, axes={"update.ratio": [0.5, 1, 2]}),
        Arm(name="⊥ update", patch={"update": OrthogonalUpdate()}),
        Arm(name="sphere", patch={"penalty": ActivationSphere()}, axes={"penalty.strength": [0.01, 0.1, 1]}),
        Arm(
            name="sphere from 500",
            patch={"intervention": SwitchPenalty(at_step=500, to=ActivationSphere())},
            axes={"intervention.to.strength": [0.1, 1]},
        ),
    ],
    seeds=range(5),
)
