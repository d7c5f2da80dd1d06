"""Do the weights stop growing under decay when the test loss turns?  (Prieto et al. 2025, Fig. 6c)

SGD with weight decay λ on the softmax cross-entropy: at first the loss falls while ½λ‖θ‖² grows, then both fall
together.  The verdict compares the step at which ‖θ‖² turns with that at which the test loss turns.

Choices   Nothing but "SGD with decay" is known about the figure.  Our choice: the default MLP on addition mod 113 with
          40 % of the pairs, momentum .2 as in the released plain SGD, learning rate 1 and λ = 3e-4.
Laptop    An MLP 46-64-64-23 on addition mod 23 with 80 % of the pairs, learning rate 1 and λ = 1e-3, where this
          optimizer generalises within a few thousand steps of a millisecond.  (We first tried learning rate 4 and
          λ = 5e-4, where training is unstable before it memorises and the largest test loss is a spike; the
          statement was not met there either.)

Result    laptop, 2026-11-22, 3 seeds, median [range]: ‖θ‖ is largest at step 542 [542, 569], the test loss at 470 [353,
          493]: the weights turn after the test loss, by 15 % [15, 54] of its step, not within 10 %.  As in the figure,
          both rise and then fall, and the network generalises only after the turn.  Full: not run.
Cost      full: 5 x 20 000 steps, an hour of one core; laptop: 3 x 3000 steps, half a minute
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/fig06c_sgd_with_decay.py --size laptop
"""

from pipeline import SweepSpec
from trainables import MLP, SGD, GrokkingTrial, ModularAddition, SoftmaxCrossEntropy, Stopping

SWEEP = {
    "full": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=113, train_fraction=0.4),
            model=MLP(hidden=(200, 200), bias=False),
            loss=SoftmaxCrossEntropy(dtype="float32"),
            optimizer=SGD(learning_rate=1.0, momentum=0.2, weight_decay=3e-4),
            horizon_steps=20_000,
            stopping=Stopping(on_success=False),
        ),
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=23, train_fraction=0.8),
            model=MLP(hidden=(64, 64), bias=False),
            loss=SoftmaxCrossEntropy(dtype="float32"),
            optimizer=SGD(learning_rate=1.0, momentum=0.2, weight_decay=1e-3),
            horizon_steps=3000,
            stopping=Stopping(on_success=False),
        ),
        seeds=range(3),
    ),
}
