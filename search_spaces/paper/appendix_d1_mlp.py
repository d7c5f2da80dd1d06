"""Does an L1 penalty bring grokking in an MLP?  (The transformer: appendix_d1_transformer.py.)

App. D.1 of Prieto et al. 2025 argues, without a run of its own, that L1 can be too weak against naive loss
minimisation, because its gradient does not grow with the weights.  This space adds λ times the sum of |θ| to the loss
on addition and varies λ.

Choices   Nothing was released.  We use the optimizer of Fig. 1's plain runs (AdamW without decay, learning rate .01,
          betas (.9, .99), eps 1e-25) and values of λ a factor of 10 apart.
Laptop    p = 23 at 80 %, two layers of 64, learning rate .02, where decay 1 to 4 groks within 400 steps.

Result    full: not run.  Laptop, 2026-11-22, 3 seeds, steps to a test accuracy of .95, median [range]: λ = 0 never
          (best 3 %); 1e-6: 1565 [1491, never]; 1e-5: 1170 [1115, never]; 1e-4: 626 [407, 1643]; 1e-3 never, and it
          does not memorise.  In the MLP, L1 brings grokking, sooner for larger λ, until it prevents learning.
Cost      full: 75 000 steps, about 40 ms each: 50 minutes of one core; laptop: 30 000 steps
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/appendix_d1_mlp.py --size laptop
"""

from pipeline import SweepSpec
from trainables import L1, MLP, AdamW, GrokkingTrial, ModularAddition

AXES = {"penalty.strength": [0.0, 1e-6, 1e-5, 1e-4, 1e-3]}

SWEEP = {
    "full": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=113, train_fraction=0.4),
            model=MLP(hidden=(200, 200), bias=False),
            penalty=L1(),
            optimizer=AdamW(learning_rate=0.01, betas=(0.9, 0.99), eps=1e-25),
            horizon_steps=3000,
        ),
        axes=AXES,
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=23, train_fraction=0.8),
            model=MLP(hidden=(64, 64), bias=False),
            penalty=L1(),
            optimizer=AdamW(learning_rate=0.02, betas=(0.9, 0.99), eps=1e-25),
            horizon_steps=2000,
        ),
        axes=AXES,
        seeds=range(3),
    ),
}
