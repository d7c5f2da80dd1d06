"""Is it AdamW that makes the softmax's dtype matter, or any way of keeping steps large?  (Prieto et al. 2025, Fig. 9)

Fig. 2 with SGD whose learning rate is divided at each step by the norm of the full gradient: modular addition without
decay, softmax cross-entropy in three dtypes, over the fraction of the pairs that is for training.

Settled   The released code does not contain the schedule of the figure, and its learning rate is not told: .3 is our
          choice, about the length of AdamW's steps in Fig. 2 (5e-4 in each of 108 000 weights), and 20 000 steps are
          Fig. 2's.  The figure's x-axis is 5 times too large.  No momentum.
Laptop    p = 79 with 80 % of the pairs, hidden layers of 128, learning rate 1: the softmax collapses within a
          thousand steps in float16, and the network generalises.  (700 steps first, 1400 now.)

Result    laptop, 2026-11-22, 3 seeds, median [range], test accuracy at step 1400: float16 94 % [93, 96], float32
          95.8 % [95, 98], float64 95.3 % [95, 98]: not met.  float16 collapses first, at step 470 [470, 542]; its
          median is lowest; float32 collapses at step 1353 in one seed and not yet in two, so that it has had no time
          to fall behind float64.  Here the collapse of float16 does not stop generalisation either: it comes when the
          test accuracy is high already.  40 to 70 % of p = 113, where generalising is slow, may differ.  Full: not run.
Cost      full: 900 000 steps; laptop: 12 600, four minutes of a quiet core
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
