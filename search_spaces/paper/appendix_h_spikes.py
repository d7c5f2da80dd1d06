"""Does Adam's training loss spike less often in float64 than in float32?

App. H of Prieto et al. 2025, after Thilak et al. 2022 and Nanda et al. 2023: the default MLP on addition mod 113 with
40 % of the pairs, Adam without decay, and everything (weights, gradients, softmax) in float32 or in float64.  A spike
is a training loss of at least ten times the minimum over the last 50 steps.

Choices   No run of the appendix was released.  We use learning rate .01, betas (.9, .99) and eps 1e-25, as in the
          released plain runs at this learning rate.  `loss_spikes_resolved` raises losses to at least 2^-23, the
          smallest positive loss of a row in float32, so that neither the flicker of float32 around 0 nor values that
          only float64 can represent count; `loss_spikes` counts the spikes of the unchanged loss.
Laptop    p = 23, two layers of 64, 5000 steps: the float32 run begins to collapse, and to spike, near step 2000.

Result    full: not run.  Laptop, 2026-11-22, 3 seeds: 2 spikes by step 5000 in float32 in every seed, the first near
          step 2000, when the loss has fallen to 2^-23; none in float64, whose loss continues to fall, to 1e-15.  At
          the end 74 % [68, 74] of the rows are in collapse in float32, and none in float64; neither generalises.
Cost      full: 200 000 steps, 40 to 80 ms each: 3 hours of one core; laptop: 30 000 steps
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/appendix_h_spikes.py --size laptop
"""

from pipeline import Arm, SweepSpec
from trainables import MLP, STANDARD, Adam, GrokkingTrial, LossSpikes, ModularAddition, SoftmaxCrossEntropy

ARMS = [
    Arm(name="float32"),
    Arm(name="float64", patch={"model.dtype": "float64", "loss": SoftmaxCrossEntropy(dtype="float64")}),
]
OPTIMIZER = Adam(learning_rate=0.01, betas=(0.9, 0.99), eps=1e-25)

SWEEP = {
    "full": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=113, train_fraction=0.4),
            model=MLP(hidden=(200, 200), bias=False),
            loss=SoftmaxCrossEntropy(dtype="float32"),
            optimizer=OPTIMIZER,
            probes=(*STANDARD, LossSpikes()),
            horizon_steps=20_000,
        ),
        arms=ARMS,
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=23, train_fraction=0.4),
            model=MLP(hidden=(64, 64), bias=False),
            loss=SoftmaxCrossEntropy(dtype="float32"),
            optimizer=OPTIMIZER,
            probes=(*STANDARD, LossSpikes()),
            horizon_steps=5000,
        ),
        arms=ARMS,
        seeds=range(3),
    ),
}
