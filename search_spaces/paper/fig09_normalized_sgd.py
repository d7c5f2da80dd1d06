"""Is it AdamW that makes the softmax's dtype matter, or any way of keeping steps large?  (Prieto et al. 2025, Fig. 9)

Fig. 2 with SGD whose learning rate is divided at each step by the norm of the full gradient: modular addition without
decay, softmax cross-entropy in three dtypes, over the training fraction.

Choices   The released code does not contain the figure's schedule, and the learning rate is not given: .3 is our
          choice, about the length of AdamW's steps in Fig. 2 (5e-4 in each of 108 000 weights), and 20 000 steps are
          Fig. 2's.  The figure's x-axis is 5 times too large.  No momentum.
Laptop    p = 79 with 80 % of the pairs, hidden layers of 128, learning rate 1: in float16 the softmax collapses within
          a thousand steps, and the network generalises.  (First 700 steps, now 1400.)

Result    laptop, 2026-11-22, 3 seeds, median [range], test accuracy at step 1400: float16 94 % [93, 96], float32
          95.8 % [95, 98], float64 95.3 % [95, 98]: not met.  float16 collapses first, at step 470 [470, 542], and its
          median is lowest; float32 collapses at step 1353 in one seed and not yet in two, too late to fall behind
          float64.  The collapse of float16 does not stop generalisation here either: it comes when the test accuracy
          is already high.  40 to 70 % of p = 113, where generalisation is slow, may differ.  Full: not run.
Cost      full: 900 000 steps; laptop: 12 600 steps, four minutes of an idle core
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/fig09_normalized_sgd.py --size laptop
"""

from pipeline import SweepSpec
from trainables import MLP, GrokkingTrial, ModularAddition, NormalizedSGD, SoftmaxCrossEntropy

DTYPES = ["float16", "float32", "float64"]

SWEEP = {
    "full": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=113),
            model=MLP(hidden=(200, 200), bias=False),
            loss=SoftmaxCrossEntropy(),
            optimizer=NormalizedSGD(learning_rate=0.3),
            horizon_steps=20_000,
        ),
        axes={"task.train_fraction": [0.4, 0.6, 0.7], "loss.dtype": DTYPES},
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=79),
            model=MLP(hidden=(128, 128), bias=False),
            loss=SoftmaxCrossEntropy(),
            optimizer=NormalizedSGD(learning_rate=1.0),
            horizon_steps=1400,
        ),
        axes={"task.train_fraction": [0.8], "loss.dtype": DTYPES},
        seeds=range(3),
    ),
}
