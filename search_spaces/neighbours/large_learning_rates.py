"""Do large learning rates resist a spurious feature and allow pruning, more than decay does?  (Barsbey et al. 2025)

An MLP by plain SGD on rows with a core feature, which is the label, and a spurious one, which agrees with it in a share
ρ of the training rows: two digits of MNIST, a bright one and a dim one, or a parity of three bits and one more bit.
`trainables/neighbours/large_learning_rates.py` has the equations and the origin of each setting.  How it bears on
grokking: what is learnt by the time the rows are fitted may depend on the size of the step, without decay or
projection.

How losses are matched (fixed before any seed from 100 on was run): every trial, of the learning rate or of decay, ends
at the first measurement at which its loss over all training rows is at .05 or below, and is compared there.  Times of
measurement are 5 % apart, so the losses at the end differ little; they are reported.  A trial that is not there by its
horizon, or diverges, is not at that loss: it is left out and counted.

The statement, with the cells in which it is judged (fixed likewise): Double MNIST at ρ = .98, and the parity at .75.
In each seed, Spearman's coefficient is taken between the learning rate (six, without decay) or the decay (six, at
learning rate .08) and

- the conflict accuracy: on test rows, whose features are independent, those in which the two disagree;
- the pruned accuracy: on all test rows, the mean of the accuracies after pruning 50, 80, 90 and 95 % of the weights.

A seed in which fewer than five of the six are at the loss has no coefficient.  With 95 % intervals (Student's) of the
means over the seeds, for both tasks and both accuracies:

1. the learning rate's coefficient is above .6: met where the whole interval is, not met where none of it is;
2. the learning rate's coefficient is above that of decay, by the interval of the paired difference, likewise.

The other two correlations (.9 for both tasks), the share of zero activations, the class separation, and the mean
confidence on mispredicted conflict rows at the first measurement with a training loss of at most .5 are reported.

Choices   everything but the two tasks, plain SGD and what is measured is ours.  Seeds 0 to 3 were looked at first, with
          losses of .02 and .05, learning rates from .01 to 1 and few decays: 1 kills all units in one of two seeds, .01
          takes more than 10 000 steps, and a decay of .01 never reaches the loss; of the ρ tried (.9, .95, .98; .75,
          .9), those are judged whose conflict accuracy at a learning rate of .16 or .2 is nearest to one half.  There
          the conflict accuracy was seen to rise with the learning rate in the parity at .75, and hardly, below .5, in
          Double MNIST at .9; no rate but .16 was looked at for Double MNIST at .98
Laptop    digits pooled to 14 x 14, 1000 training and 500 test rows, two hidden layers of 64, eight seeds; full: whole
          digits, 20 000 and 10 000 rows, layers of 512, more correlations and ten seeds, which is ours too
Result    laptop, 2026-11-27, 8 seeds, undecided; all 288 trials reached the loss.  Mean coefficients, 95 %:

          | task, accuracy | learning rate | decay | difference | part 1 | part 2 |
          |---|---|---|---|---|---|
          | Double MNIST, conflict | .71 [.55, .87] | -.22 [-.81, .37] | .93 [.28, 1.58] | undecided | met |
          | Double MNIST, pruned | .69 [.54, .83] | .26 [-.20, .71] | .43 [.04, .81] | undecided | met |
          | parity, conflict | .99 [.97, 1.01] | .86 [.75, .96] | .13 [.03, .23] | met | met |
          | parity, pruned | .77 [.43, 1.11] | .89 [.84, .95] | -.12 [-.49, .25] | undecided | undecided |

          The effects, as medians at the smallest and the largest value.  Double MNIST: conflict accuracy 65 to 70 %
          over the learning rate (nothing up to .16) and 66 to 65 % over decay; pruned 60 to 67 % and 61 to 61 %.
          Parity: conflict 38 to 84 % and 46 to 56 %; pruned 65 to 81 % and 72 to 79 % (85 % at learning rate .32: after
          95 % of pruning it falls from 78 to 60 % at .64).  So decay orders the parity's accuracies about as well as
          the learning rate does, but moves the conflict accuracy by a quarter as much, within the decays that reach the
          loss at all.
          At ρ = .9: 74 to 78 % in Double MNIST, 8 to 11 % in the parity.  Zero activations: 20 to 60 %, parity 46 to
          58 %; class separation .51 to .56, parity .02 to .09; early confidence on mispredicted conflict rows 36 to
          48 %, parity 70 to 70 %.  Losses at the end: .047 [.026, .050], parity .041 [.026, .050]; the lowest ones are
          those of learning rates .32 and .64.  Full: not run
Cost      laptop: 392 925 steps, 6 minutes of one core (28 minutes on a machine whose cores were taken by others)
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/neighbours/large_learning_rates.py
"""

from pipeline import Arm, SweepSpec
from trainables import MLP, CorrelatedParity, DoubleMNIST, LargeLearningRates

RATES = [0.02, 0.04, 0.08, 0.16, 0.32, 0.64]
DECAYS = [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 3e-3]
JUDGED = {"Double MNIST": 0.98, "parity": 0.75}
TASKS = {
    "full": {
        "Double MNIST": DoubleMNIST(train_rows=20_000, test_rows=10_000, pooling=1),
        "parity": CorrelatedParity(train_rows=20_000, test_rows=10_000, core_bits=4, noise_bits=35),
    },
    "laptop": {"Double MNIST": DoubleMNIST(), "parity": CorrelatedParity()},
}
CORRELATIONS = {
    "full": {"Double MNIST": [0.8, 0.9, 0.95, 0.98, 0.99], "parity": [0.5, 0.6, 0.75, 0.9, 0.95]},
    "laptop": {"Double MNIST": [0.9, 0.98], "parity": [0.75, 0.9]},
}
ARMS = {
    size: [
        *(
            Arm(
                name=f"{task}, learning rate",
                patch={"task": rows},
                axes={"task.correlation": CORRELATIONS[size][task], "learning_rate": RATES},
            )
            for task, rows in tasks.items()
        ),
        *(
            Arm(
                name=f"{task}, decay",
                patch={"task": rows, "task.correlation": JUDGED[task], "learning_rate": 0.08},
                axes={"weight_decay": DECAYS},
            )
            for task, rows in tasks.items()
        ),
    ]
    for size, tasks in TASKS.items()
}
WIDE = MLP(hidden=(512, 512), bias=True, dtype="float64")

SWEEP = {
    "full": SweepSpec(
        base=LargeLearningRates(model=WIDE, batch_rows=100, horizon_steps=60_000),
        arms=ARMS["full"],
        seeds=range(100, 110),
    ),
    "laptop": SweepSpec(base=LargeLearningRates(horizon_steps=8000), arms=ARMS["laptop"], seeds=range(100, 108)),
}
