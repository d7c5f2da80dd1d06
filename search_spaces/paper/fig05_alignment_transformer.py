"""Do a transformer's updates follow naive loss minimisation once the data is memorised?  (Prieto et al. 2025, Fig. 5c)

The cosine of every parameter tensor with its -g and with its next update (Def. 5), in the one-layer transformer on
addition mod 113 with 40 % of the pairs, AdamW without decay.

Choices   The figure's hyper-parameters were never released.  Our choice: the transformer of Fig. 6a at its learning
          rate .001, without dropout, so that the measured gradient is the one used for the update; betas (.9, .99),
          eps 1e-25 and softmax in float32.  The verdict uses the cosine with -g.
Laptop    p = 47, width 64, 256 feed-forward units and learning rate 2e-3, as for the MLPs (fig05_alignment_mlp.py).

Result    laptop, 2026-11-22, 3 seeds: memorised at step 58 to 60.  The cosine of unembed with -g reaches .95 to .96
          within the next 500 steps, with the update .90 to .91.  Of the others, feed_out ends at .25, feed_in at .20
          and embed at .05: because of the norm before the logits, only unembed can scale them.  Full: not run.
Cost      full: 5 x 1500 steps of 0.4 s, 50 minutes of one core; laptop: 3 x 800 steps, half a minute
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/fig05_alignment_transformer.py --size laptop
"""

from pipeline import Arm, SweepSpec
from trainables import (
    STANDARD,
    AdamW,
    GrokkingTrial,
    ModularAddition,
    SoftmaxCrossEntropy,
    TensorAlignment,
    Tokens,
    Transformer,
)

BASE = GrokkingTrial(
    task=ModularAddition(p=113, train_fraction=0.4, inputs=Tokens()),
    model=Transformer(width=128, heads=4, feed_forward=2048, norm="post", positions=False),
    loss=SoftmaxCrossEntropy(dtype="float32"),
    optimizer=AdamW(learning_rate=0.001, betas=(0.9, 0.99), eps=1e-25),
    probes=(*STANDARD, TensorAlignment()),
    horizon_steps=1500,
)
ARMS = [Arm(name="5c")]

SWEEP = {
    "full": SweepSpec(base=BASE, arms=ARMS, seeds=range(5)),
    "laptop": SweepSpec(
        base=BASE.replace(
            task=ModularAddition(p=47, train_fraction=0.4, inputs=Tokens()),
            model=Transformer(width=64, heads=4, feed_forward=256, norm="post", positions=False),
            optimizer=AdamW(learning_rate=2e-3, betas=(0.9, 0.99), eps=1e-25),
            horizon_steps=800,
        ),
        arms=ARMS,
        seeds=range(3),
    ),
}
