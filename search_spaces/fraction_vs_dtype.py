"""How soon does softmax collapse stop learning, by training fraction and softmax dtype?  (Prieto et al. 2025, Fig. 2)

The default MLP on addition mod 113, AdamW at learning rate 5e-4, betas (.9, .99), without decay.  The paper runs
20 000 steps; this is their beginning, in which float16 collapses and the wider dtypes do not yet: read
`sc_any_fraction` beside the accuracies.  Raising `horizon_steps` to 20000 continues the same trials to the paper's
figure (about two hours on 2 cores).  eps is 1e-25 throughout, where the released code has 1e-30 at 40 %.

On a CPU, float16 rounds the sum and its logarithm to half; a GPU is believed to accumulate in float32, so collapse
may differ there.  One seed shows the picture; a verdict needs three (`--seeds 3`).

Result    not run yet
Cost      not run yet
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/fraction_vs_dtype.py
"""

from pipeline.spec import SweepSpec
from trainables.engine.losses import SoftmaxCrossEntropy
from trainables.engine.optimizers import AdamW
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

SWEEP = SweepSpec(
    base=GrokkingTrial(
        task=ModularAddition(p=113),
        loss=SoftmaxCrossEntropy(dtype="float32"),
        optimizer=AdamW(learning_rate=5e-4, betas=(0.9, 0.99), eps=1e-25),
        horizon_steps=2000,
    ),
    axes={
        "task.train_fraction": [0.4, 0.5, 0.6, 0.7],
        "loss.dtype": ["float16", "float32", "float64"],
    },
    seeds=range(1),
)
