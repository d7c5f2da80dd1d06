"""Do an MLP's updates follow naive loss minimisation once the data is memorised?  (Prieto et al. 2025, Fig. 5a, b)

The cosine of every parameter tensor with its -g and with its next update (Def. 5), in the default MLP with and without
bias on addition mod 113 with 40 % of the pairs, AdamW without decay.

Choices   The figure's hyper-parameters were never released.  Our choice: learning rate 5e-4, betas (.9, .99), eps
          1e-25 and softmax in float32, as in Fig. 2.  The verdict uses the cosine with -g; the figure also shows that
          with the optimizer's own update.
Laptop    p = 47 and learning rate 2e-3.  Alignment begins with memorisation and does not wait for generalisation,
          which no run reaches here.

Result    laptop, 2026-11-22, 3 seeds: with and without bias all memorise at step 75 to 81.  The output layer's cosine
          with -g is .9 then and reaches .93 to .94 within the next 500 steps, with the update .91 to .92.  The layers
          before it end at .86 and .74.  Full: not run.
Cost      full: 10 x 2500 steps, 15 minutes of one core; laptop: 6 x 800 steps, 1 minute
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/fig05_alignment_mlp.py --size laptop
"""

from pipeline import Arm, SweepSpec
from trainables import MLP, STANDARD, AdamW, GrokkingTrial, ModularAddition, SoftmaxCrossEntropy, TensorAlignment

BASE = GrokkingTrial(
    task=ModularAddition(p=113, train_fraction=0.4),
    loss=SoftmaxCrossEntropy(dtype="float32"),
    optimizer=AdamW(learning_rate=5e-4, betas=(0.9, 0.99), eps=1e-25),
    probes=(*STANDARD, TensorAlignment()),
    horizon_steps=2500,
)
ARMS = [
    Arm(name="5a", patch={"model": MLP(hidden=(200, 200), bias=True)}),
    Arm(name="5b", patch={"model": MLP(hidden=(200, 200), bias=False)}),
]

SWEEP = {
    "full": SweepSpec(base=BASE, arms=ARMS, seeds=range(5)),
    "laptop": SweepSpec(
        base=BASE.replace(
            task=ModularAddition(p=47, train_fraction=0.4),
            optimizer=AdamW(learning_rate=2e-3, betas=(0.9, 0.99), eps=1e-25),
            horizon_steps=800,
        ),
        arms=ARMS,
        seeds=range(3),
    ),
}
