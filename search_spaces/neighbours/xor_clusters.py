"""When does a network that has fitted XOR clusters, flipped labels included, come to generalise?  (Xu et al. 2024)

Four clusters in p dimensions, the label says on which of two axes a row's centre is, and a tenth of the 400 training
labels is flipped; a two-layer ReLU network by full-batch gradient descent.  `trainables/neighbours/xor_clusters.py` has
the equations and the origin of each setting.  How it bears on grokking: the delay between fitting and generalising is
a few steps and needs no decay; a start that is small against the step makes the first fit linear, hence blind to XOR,
and leaves the weights free to turn to the features afterwards.

The statement, with the cell in which it is judged (fixed before any seed from 100 on was run): at ‖μ‖ = 20,
p = 20 000 (p / n = 50) and initial weights of 1e-5, in at least 8 of the 10 seeds,

1. after one step the training accuracy is at least .99 and the test accuracy, on clean labels, in [.4, .6];
2. at step 20 the test accuracy is at least .95 while the training accuracy is 1.

The other cells are reported: a larger start, shorter and longer means, fewer dimensions.

Choices   n = 400, m = 100, step .1, 20 steps, 2000 test rows: ours, since the figure's own numbers were not found; no
          stop on success, so that accuracies at step 20 are measured ones
Result    not run
Cost      not run
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/neighbours/xor_clusters.py
"""

from pipeline import SweepSpec
from trainables import Stopping, XORClusters

SWEEP = SweepSpec(
    base=XORClusters(horizon_steps=20, stopping=Stopping(on_success=False)),
    axes={
        "dimension": [8000, 20_000],
        "init_std": [1e-5, 1e-2, 1e-1],
        "mean_norm": [10, 15, 20, 30],
    },
    seeds=range(100, 110),
)
