"""Where do a learnt rule and memorized random labels coexist, over both fractions and with decay?  (Doshi et al. 2024)

The network of `corrupted_labels.py` over the fraction of all pairs that it is trained on, the fraction of these with a
random label, and the weight decay.  The phases are those of the paper, by thresholds of ours, in
`trainables/neighbours/corrupted_labels.py`: coexistence (test rows and random labels right), partial and full inversion
(test rows right, random labels less, or no longer), memorization, forgetting (what was fitted is lost) and confusion.
How it bears on grokking: it shows where generalisation needs decay and where it does not.

Nothing is judged here: the picture is set beside the statement of `corrupted_labels.py`.

Choices   one run a cell, as in a picture of phases.  Right means an accuracy of .9 that stays; no longer right, .1 or
          less on the random labels after the test rows were right (at first it was: after they had been memorized,
          which called a run that never memorized them a partial inversion)
Laptop    p = 47 and 250 neurons in place of 97 and 500 (a step costs a tenth, but a smaller p needs a larger part of
          its pairs to generalise: the borders are not those of p = 97), 4 x 4 cells in place of 17 x 17, the decays 0
          and 15, and 600 steps in place of 2000
Result    laptop, 2026-11-27, 1 seed.  By (fraction trained on, fraction of random labels).  Decay 0: coexistence at
          (.7, .1) and (.9, .3), partial inversion at (.9, .1), where the random labels are at .90, memorization in the
          other 13 cells, though the test accuracy is .85 at (.5, .1) and .76 at (.7, .3).  Decay 15: full inversion at
          (.5, .1), (.7, .1), (.7, .3), (.9, .1) and (.9, .3), with a test accuracy of 1 and .01 to .06 of the random
          labels, memorization in the other 11.  So within 600 steps decay turns all that coexists into full inversion
          and moves the border of generalisation to fewer rows.  Full: not run
Cost      laptop: 19 200 steps, 5 minutes by the clock on one shared core
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/neighbours/corrupted_labels_diagram.py
"""

from pipeline import SweepSpec
from trainables import CorruptedLabels, EverySteps, QuadraticNetwork, RandomlyLabelledAddition, Stopping

DECAY = "optimizer.weight_decay"
FRACTIONS = [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
BASE = CorruptedLabels(
    measuring=EverySteps(every_steps=20),
    stopping=Stopping(on_success=False),
    prune_every=1000,
    horizon_steps=2000,
)

SWEEP = {
    "full": SweepSpec(
        base=BASE,
        axes={DECAY: [0, 5, 15, 20], "task.train_fraction": FRACTIONS, "task.label_corruption": FRACTIONS},
        seeds=[100],
    ),
    "laptop": SweepSpec(
        base=BASE.replace(task=RandomlyLabelledAddition(p=47), model=QuadraticNetwork(neurons=250), horizon_steps=600),
        axes={
            DECAY: [0, 15],
            "task.train_fraction": [0.3, 0.5, 0.7, 0.9],
            "task.label_corruption": [0.1, 0.3, 0.5, 0.7],
        },
        seeds=[100],
    ),
}
