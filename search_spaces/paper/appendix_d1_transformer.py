"""Does an L1 penalty bring grokking in a transformer?  (The MLP: appendix_d1_mlp.py.)

App. D.1 of Prieto et al. 2025 reports no run of its own, but cites Nanda et al. 2023, who saw no grokking with L1 in a
transformer.  This space adds λ times the sum of |θ| to the loss on addition and varies λ.

Choices   Nothing was released.  We use the model and the optimizer of Fig. 6a's plain run (one layer, 4 heads, width
          128, feed-forward 2048, norms after sublayers, no positions; AdamW without decay, learning rate .001, betas
          (.9, .99), eps 1e-25), without its dropout, which regularises too.
Laptop    p = 23 at 80 %, width 32, feed-forward 128, learning rate .003; λ up to where only some runs memorise.

Result    full: not run.  Laptop, 2026-11-22, 3 seeds: no λ brings a test accuracy of .95 by step 1500; the best of any
          run is 11 %, at 1e-3, where only some memorise.  A decay of 2 instead of L1 does, near step 800 (seed 0, not
          in this space).  This agrees with what Nanda et al. and the paper say about L1 and transformers.
Cost      full: 50 000 steps, a second or more each: at least 14 hours of one core; laptop: 22 500 steps
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/appendix_d1_transformer.py --size laptop
"""

from pipeline import SweepSpec
from trainables import L1, AdamW, GrokkingTrial, ModularAddition, Tokens, Transformer

SWEEP = {
    "full": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=113, train_fraction=0.4, inputs=Tokens()),
            model=Transformer(width=128, heads=4, feed_forward=2048),
            penalty=L1(),
            optimizer=AdamW(learning_rate=0.001, betas=(0.9, 0.99), eps=1e-25),
            horizon_steps=2000,
        ),
        axes={"penalty.strength": [0.0, 1e-6, 1e-5, 1e-4, 1e-3]},
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=23, train_fraction=0.8, inputs=Tokens()),
            model=Transformer(width=32, heads=4, feed_forward=128),
            penalty=L1(),
            optimizer=AdamW(learning_rate=0.003, betas=(0.9, 0.99), eps=1e-25),
            horizon_steps=1500,
        ),
        axes={"penalty.strength": [0.0, 1e-5, 1e-4, 3e-4, 1e-3]},
        seeds=range(3),
    ),
}
