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
Result    2026-11-27, 10 seeds, met in 10 of 10 seeds, both parts.  In the judged cell, median [range]: after one step
          training accuracy 1.00 [.998, 1], test accuracy .49 [.47, .55]; at step 20 training accuracy 1, test accuracy
          .995 [.967, .9995].  Mean test accuracy with 95 % intervals at steps 1, 2, 5, 20: .500 [.482, .518], .912
          [.894, .930], .977 [.963, .991], .991 [.984, .998].  Step 20, the same cell from larger starts: .53 [.51, .56]
          at 1e-2, .50 [.48, .52] at 1e-1, all labels fitted.  With ‖μ‖ = 10, 15, 30: .64, .92, 1.00 at 1e-5.  Fewer
          dimensions (p / n = 20) and longer means make both easier, also from 1e-2: .77 [.73, .82] at ‖μ‖ = 20, .998
          at 30; there one step no longer fits every label (‖μ‖ = 30, 1e-5: .77 [.56, .83])
Cost      4800 steps; 80 s of one core, most of it to draw 20 sets of rows in p dimensions and to find their span
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
