"""Who generalises without decay before the softmax collapses?  Training fraction against softmax dtype.

The region of Fig. 2 of Prieto et al. 2025: the default MLP on addition mod 113, AdamW at learning rate 5e-4, betas
(.9, .99) and eps 1e-25, without decay.  The paper runs 40 to 70 % for 20 000 steps; these are the first 1500 of 60 to
90 %, where the boundary of what groks so early lies: read `sc_any_fraction` beside the accuracies.  Raising
`horizon_steps` to 20000 continues the same trials (the paper's 60 and 70 % are among them).

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
        horizon_steps=1500,
    ),
    axes={
        "task.train_fraction": [0.6, 0.7, 0.8, 0.9],
        "loss.dtype": ["float16", "float32", "float64"],
    },
    seeds=range(1),
)
