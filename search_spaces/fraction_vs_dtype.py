"""Who generalises without decay before the softmax collapses?  Training fraction against softmax dtype.

The region of Fig. 2 of Prieto et al. 2025: the default MLP on addition mod 113, AdamW at learning rate 5e-4, betas
(.9, .99) and eps 1e-25, without decay.  The paper trains on 40 to 70 % of the pairs for 20 000 steps.  This space runs
the first 1500 steps of 60 to 90 %, the range that includes the boundary of grokking by then; compare `sc_any_fraction`
with the accuracies.  Raise `horizon_steps` to 20000 to continue the same trials (including the paper's 60 and 70 %).

On a CPU, float16 rounds the sum and its logarithm to half precision.  A GPU is believed to accumulate in float32, so
collapse may differ there.  One seed shows the picture; a verdict needs three (`--seeds 3`).

Result    2026-11-22, test accuracy at step 1500 for float16/32/64, one seed: 60 %: .03/.05/.05; 70 %: .27/.38/.39;
          80 %: .54/.83/.83; 90 %: .66/.98/.97.  Only 90 % in float32 (t_gen 1289) and float64 (1228) reach .95.
          In float32 nothing has collapsed yet (sc_any 0); in float16 12 to 43 % of the rows have.  So float16 already
          falls behind, and float64 is no better than float32 before float32 collapses.
Cost      18 000 steps, none stops early: 10 minutes
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/fraction_vs_dtype.py
"""

from pipeline import SweepSpec
from trainables import AdamW, GrokkingTrial, ModularAddition, SoftmaxCrossEntropy

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
