"""Does ⊥AdamW grok sooner than AdamW with the best weight decay, whatever the network?  First: which cell of each?

Prieto et al. 2025 say that ⊥Grad hastens grokking beyond what regularisation gives.  The author of a pull request to
the released code tuned both again (EIFY's fork, wd_plots.ipynb: one seed a setting, epochs to 100 % test accuracy on
addition mod 113 at 40 %) and found decay ahead in four of the five settings that were decided; decay against ⊥: two-hot
input with 1, 2, 3 hidden layers 917/1036, 143/124, both above 400; embedding input 126/266, 111/198, 146/above 400.
There decay had the best of 35 cells (7 learning rates, 5 decays) and ⊥ the best of 7.

Here every method has nine cells of its own, at the same budget: ReLU layers of 200 units without bias, two-hot pairs or
two learned vectors of 100, AdamW's betas (.9, .99), all layers decayed, success at a test accuracy of 99 %.  At two
layers stand beside them: both together, Muon with decay, egalitarian gradient descent, and Grokfast's average with
decay.  Seeds 0 to 4 choose each method's cell by its mean time, a seed that does not grok counting as the horizon;
decay_or_projection_confirmed.py compares the chosen cells on seeds 100 to 119.

Choices   grids of learning rates and decays around those of a pilot with one other seed (900), which is used nowhere;
          horizon 3000 for one layer on two-hot pairs, 800 elsewhere
Laptop    two layers, the two methods, two-hot and embedding
Result    2026-11-27, laptop, seeds 0 to 4, mean steps to 99 % of the best cells: two-hot, decay: (.03, 4) 155,
          (.03, 2) 185, (.015, 8) 196; ⊥: .016 109, .012 112, .008 133.  Embedding, decay: (.015, 4) 121, (.03, 2) 137,
          (.007, 8) 146; ⊥: .004 192, .003 204, .002 221.  On two-hot pairs decay's best cell is at the edge of
          its grid, which may not hold its optimum.  2026-11-27, the two methods of the full size at one and three
          layers, same seeds (a seed that does not grok counts as the horizon): two-hot, 1 layer, decay: (.03, 2) 475,
          (.015, 2) 670; ⊥: .024 159, .016 529.  Two-hot, 3 layers, decay: (.007, 8) 714 (1 seed of 5 groks), all
          others none; ⊥: .008 730 (2 seeds), all others none.  Embedding, 1 layer, decay: (.03, 4) 133, (.03, 2)
          143; ⊥: .004 180, .006 182.  Embedding, 3 layers, decay: (.015, 2) 155, (.007, 4) 211; ⊥: .001 726 (2
          seeds), .002 754 (1 seed).  Of these eight only two-hot with 3 layers and ⊥ with an embedding and 1 layer
          have their best cell inside the grid in every field.  The others at two layers, two-hot / embedding: ⊥AdamW
          with decay none of 45 trials / (.016, .5) 88; GrokfastEMA with decay (.5, 8) 261 / (.5, 8) 153; Muon and EGD
          none of 45 / none of 45.  Of these a cell was dropped once its seeds so far took longer than all of the best
Cost      laptop: 71 746 steps, 80 minutes of training on cores that were shared; full: some 8 hours on one core
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/disputes/decay_or_projection.py
"""

from pipeline import Arm, SweepSpec
from trainables import (
    MLP,
    SGD,
    AdamW,
    EgalitarianGradientDescent,
    GrokfastEMA,
    GrokkingTrial,
    ModularAddition,
    Muon,
    OrthogonalGradient,
    PlainGradient,
    Tokens,
    rises_to,
)

TASK = ModularAddition(p=113, train_fraction=0.4)
TASKS = {"two-hot": TASK, "embedding": TASK.replace(inputs=Tokens())}
EMBEDDINGS = {"two-hot": 0, "embedding": 100}
ADAMW = AdamW(betas=(0.9, 0.99))
COMPARED = {
    "AdamW with decay": {"optimizer": ADAMW, "gradient": PlainGradient()},
    "⊥AdamW": {"optimizer": ADAMW, "gradient": OrthogonalGradient()},
}
BESIDE = {
    "⊥AdamW with decay": {"optimizer": ADAMW, "gradient": OrthogonalGradient()},
    "Muon with decay": {"optimizer": Muon(), "gradient": PlainGradient()},
    "EGD": {"optimizer": SGD(), "gradient": EgalitarianGradientDescent()},
    "GrokfastEMA with decay": {"optimizer": ADAMW.replace(learning_rate=0.01), "gradient": GrokfastEMA()},
}
RATE = "optimizer.learning_rate"
DECAY = "optimizer.weight_decay"
CELLS = {
    "AdamW with decay": {RATE: [0.007, 0.015, 0.03], DECAY: [2, 4, 8]},
    "⊥AdamW": {RATE: [0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024]},
    "⊥AdamW with decay": {RATE: [0.004, 0.008, 0.016], DECAY: [0.5, 1, 2]},
    "Muon with decay": {RATE: [0.01, 0.03, 0.1], DECAY: [0.3, 1, 3]},
    "EGD": {RATE: [0.03, 0.1, 0.3], DECAY: [0, 0.001, 0.01]},
    "GrokfastEMA with decay": {"gradient.strength": [0.5, 1, 2], DECAY: [2, 4, 8]},
}
HORIZONS = {"two-hot, 1 layer": 3000}
BASE = GrokkingTrial(
    task=TASK,
    events=(
        rises_to("train_accuracy", 0.99, name="t_mem"),
        rises_to("test_accuracy", 0.99, name="t_gen"),
    ),
    horizon_steps=800,
)
NETWORKS = {
    f"{inputs}, {words}": {
        "task": task,
        "model": MLP(hidden=(200,) * layers, embedding=EMBEDDINGS[inputs]),
        "horizon_steps": HORIZONS.get(f"{inputs}, {words}", 800),
    }
    for inputs, task in TASKS.items()
    for layers, words in {1: "1 layer", 2: "2 layers", 3: "3 layers"}.items()
}

SWEEP = {
    "full": SweepSpec(
        base=BASE,
        arms=[
            Arm(name=f"{network}: {method}", patch={**parts, **patch}, axes=CELLS[method])
            for network, parts in NETWORKS.items()
            for method, patch in {**COMPARED, **BESIDE}.items()
            if method in COMPARED or "2 layers" in network
        ],
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=BASE,
        arms=[
            Arm(name=f"{network}: {method}", patch={**parts, **patch}, axes=CELLS[method])
            for network, parts in NETWORKS.items()
            for method, patch in COMPARED.items()
            if "2 layers" in network
        ],
        seeds=range(5),
    ),
}
