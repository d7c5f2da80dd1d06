"""Does a larger ε of Adam end learning before the softmax collapses?  Does a hand-written log-softmax keep learning?

App. I of Prieto et al. 2025: the setting of Fig. 2 at 70 % of the pairs, where float32 generalises partly before it
collapses.  We vary Adam's ε, with torch's log-softmax and with x - log(sum exp x) differentiated operation by
operation.

Choices   No run of the appendix was released.  Apart from ε, the optimizer is Fig. 2's (AdamW without decay, learning
          rate 5e-4, betas (.9, .99), 20 000 steps).  The hand-written log-softmax is compared at the smallest ε and
          at torch's default.
Laptop    p = 79 with 95 % of the pairs, two layers of 128, learning rate .03, 1500 steps: softmax cross-entropy
          generalises partly (.71 at step 300); at p = 31 and 80 % it does not generalise at all.  (A first run to step
          400, too short for ε to matter, gave the same verdict.)

Result    full: not run.  Laptop, 2026-11-22, 3 seeds, test accuracy and collapsed rows at step 1500, median [range]: ε
          1e-25: 82 % [69, 86], 52 %; 1e-8: 82 % [70, 88], 52 %; 1e-6: 80 % [68, 82], 33 %; 1e-4: 63 % [61, 65], 7 %
          [6, 7].  A larger ε learns more slowly and collapses later, but does not freeze within these steps: over the
          second half 1e-4 still gains 2 to 4 points (1e-25: 7 to 9), while the statement requires less than 1, so it
          is not met.  A likely reason, not tested: the root of the second moment shrinks by a factor of at least .995
          per step, and is near 1e-6 at the end, so that a smaller ε cannot matter yet.  By hand minus native: 0.3
          points [-0.6, 1.6].
Cost      full: 800 000 steps, about 50 ms each: 11 hours of one core; laptop: 22 500 steps
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/appendix_i_eps.py --size laptop
"""

from pipeline import Arm, SweepSpec
from trainables import MLP, AdamW, GrokkingTrial, ModularAddition, SoftmaxCrossEntropy

BY_HAND = {"loss": SoftmaxCrossEntropy(dtype="float32", log_softmax="by_hand")}

SWEEP = {
    "full": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=113, train_fraction=0.7),
            model=MLP(hidden=(200, 200), bias=False),
            loss=SoftmaxCrossEntropy(dtype="float32"),
            optimizer=AdamW(learning_rate=5e-4, betas=(0.9, 0.99)),
            horizon_steps=20_000,
        ),
        arms=[
            Arm(name="native", axes={"optimizer.eps": [1e-25, 1e-16, 1e-12, 1e-8, 1e-6, 1e-4]}),
            Arm(name="by hand", patch=BY_HAND, axes={"optimizer.eps": [1e-25, 1e-8]}),
        ],
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=79, train_fraction=0.95),
            model=MLP(hidden=(128, 128), bias=False),
            loss=SoftmaxCrossEntropy(dtype="float32"),
            optimizer=AdamW(learning_rate=0.03, betas=(0.9, 0.99)),
            horizon_steps=1500,
        ),
        arms=[
            Arm(name="native", axes={"optimizer.eps": [1e-25, 1e-8, 1e-6, 1e-4]}),
            Arm(name="by hand", patch=BY_HAND, axes={"optimizer.eps": [1e-25]}),
        ],
        seeds=range(3),
    ),
}
