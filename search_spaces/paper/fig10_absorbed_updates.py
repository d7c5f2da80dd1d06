"""Do weights absorb more and more of the updates during gradient descent?  (Prieto et al. 2025, Fig. 10)

An MLP with two hidden layers on modular addition with 30 % of the pairs, plain SGD on softmax cross-entropy in float32.
A weight has absorbed its update if w - ηg == w.  Where g is exactly 0, this is not due to rounding, so the fraction of
those weights is shown too.  The loss of a network that has memorised falls like 1/(η t), so ηg falls like 1/t for any
η, and absorption grows with the steps since memorisation.

Choices   Momentum .2, as in every released plain SGD run.  The figure's learning rate and length were never released;
          ours are chosen so that few hidden units die while memorising (at learning rate 10 and p = 47, 16 % of the
          gradients are exactly 0 from then on, which hides everything else).
Laptop    p = 47, hidden layers of 64, learning rate 2, three seeds.

Result    laptop, 2026-11-22, 3 seeds, median [range]: undecided.  From t_mem (step 220) to step 25 000 the absorbed
          fraction grows in every seed, from .0045 [.0033, .0049] to .0151 [.0149, .0152], 3.4-fold [3.1, 4.6].  The
          exact zeros stay within 20 % of .0045 in two seeds and grow by 21 % in one, less than a thousandth
          of the weights.  The fraction absorbed with a nonzero gradient grows from nothing to .011.  Full: not run.
Cost      full: 200 000 steps; laptop: 75 000 steps of little more than a millisecond
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/fig10_absorbed_updates.py --size laptop
"""

from pipeline import SweepSpec
from trainables import (
    MLP,
    SGD,
    GrokkingTrial,
    LossAndAccuracy,
    ModularAddition,
    Norms,
    SoftmaxCrossEntropy,
    UpdateFractions,
)

TRIAL = {
    "loss": SoftmaxCrossEntropy(dtype="float32"),
    "probes": (LossAndAccuracy(), Norms(), UpdateFractions()),
}

SWEEP = {
    "full": SweepSpec(
        base=GrokkingTrial(
            **TRIAL,
            task=ModularAddition(p=113, train_fraction=0.3),
            model=MLP(hidden=(200, 200), bias=False),
            optimizer=SGD(learning_rate=1.0, momentum=0.2),
            horizon_steps=40_000,
        ),
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=GrokkingTrial(
            **TRIAL,
            task=ModularAddition(p=47, train_fraction=0.3),
            model=MLP(hidden=(64, 64), bias=False),
            optimizer=SGD(learning_rate=2.0, momentum=0.2),
            horizon_steps=25_000,
        ),
        seeds=range(3),
    ),
}
