"""Do initial weights 100 times as large bring softmax collapse on MNIST, and does decay undo it?

Fig. 14 of Prieto et al. 2025, after Liu et al. 2023b: 200 training rows of MNIST, an MLP whose initial weights are
multiplied by 100, cross-entropy with a softmax in float32, with weight decay and without; test on all 10 000 rows.

Choices   Betas (.9, .99) and eps 1e-25, as in every released run of plain AdamW.  Nothing else of the figure was
          released.  We use two hidden layers of 200 without bias, as elsewhere in the paper, learning rate .001 (Liu et
          al.), and decay 1: weights 100 times too large need ln 100 / (learning rate x decay) = 4600 steps to shrink
          to the usual size, and 8000 steps show what follows.
Laptop    Decay 3, which needs a third of the steps: 2500; three of the five seeds, 1000 of the test rows.

Result    2026-11-22, full, 5 seeds, median [range]: without decay all rows end in collapse, and the test accuracy stays
          at its value from the time of memorisation, 38.1 % [36, 40.5].  With decay the collapsed rows recede from all
          to a tenth by step 2700, the test accuracy rises by 40 points [38, 41], to 78.1 % [76.6, 78.8], and then
          collapse comes and goes, 2 to 70 % of the rows, without harm (29.5 % [7, 39.5] at the end).  Laptop, 3 seeds:
          37.9 % and 79.3 % [74, 80], collapse at the end 3 % [1, 5.5].
Cost      full: 80 000 steps; laptop: 15 000 steps
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/fig14_mnist_scale.py --size laptop
"""

from pipeline import SweepSpec
from trainables import MLP, AdamW, GrokkingTrial, MNISTSubset, SoftmaxCrossEntropy

TRIAL = {
    "model": MLP(hidden=(200, 200), bias=False, init_scale=100.0),
    "loss": SoftmaxCrossEntropy(dtype="float32"),
    "optimizer": AdamW(learning_rate=0.001, betas=(0.9, 0.99), eps=1e-25),
}

SWEEP = {
    "full": SweepSpec(
        base=GrokkingTrial(task=MNISTSubset(train_rows=200), **TRIAL, horizon_steps=8000),
        axes={"optimizer.weight_decay": [0.0, 1.0]},
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=GrokkingTrial(task=MNISTSubset(train_rows=200, test_rows=1000), **TRIAL, horizon_steps=2500),
        axes={"optimizer.weight_decay": [0.0, 3.0]},
        seeds=range(3),
    ),
}
