"""Do weights absorb ever more of the updates as gradient descent goes on?  (Prieto et al. 2025, Fig. 10)

The MLP with two hidden layers of 200 on modular addition with 30 % of the pairs, plain SGD on softmax cross-entropy
in float32.  A weight has absorbed its update where w - ηg == w; where g is exactly 0 that is no rounding, so that
the fraction of those is told beside it.  The loss of a network that has memorised falls like 1/(η t), so that ηg
falls like 1/t whatever η is, and absorption grows with the steps since memorising.

Settled   Momentum .2, as every released plain SGD run.  The figure's learning rate and length were never released:
          ours are chosen so that few hidden units die while memorising (at 10, p = 47, 16 % of the gradients are
          exactly 0 from then on, which hides everything else).
Laptop    p = 47, learning rate 2, three seeds.

Result    not run
Cost      full: 200 000 steps; laptop: 36 000
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/fig10_absorbed_updates.py --size laptop
"""

from pipeline.spec import SweepSpec
from trainables.engine.losses import SoftmaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD
from trainables.engine.probes import LossAndAccuracy, Norms
from trainables.engine.probes_tensors import UpdateFractions
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

TRIAL = {
    "model": MLP(hidden=(200, 200), bias=False),
    "loss": SoftmaxCrossEntropy(dtype="float32"),
    "probes": (LossAndAccuracy(), Norms(), UpdateFractions()),
}

SWEEP = {
    "full": SweepSpec(
        base=GrokkingTrial(
            **TRIAL,
            task=ModularAddition(p=113, train_fraction=0.3),
            optimizer=SGD(learning_rate=1.0, momentum=0.2),
            horizon_steps=40_000,
        ),
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=GrokkingTrial(
            **TRIAL,
            task=ModularAddition(p=47, train_fraction=0.3),
            optimizer=SGD(learning_rate=2.0, momentum=0.2),
            horizon_steps=12_000,
        ),
        seeds=range(3),
    ),
}
