"""Does the output scale α delay generalisation where it happens, and bring it where it does not?

Fig. 13 and App. D.2 of Prieto et al. 2025: the logits times α, for mean squared error with one and with two hidden
layers, and for cross-entropy with two; addition without decay.

Choices   Only one rule of the figure was released: the learning rate is divided by α².  With that rule plain gradient
          descent moves the network's function at the same pace for every α.  Kumar et al. 2024, the source of α, train
          with it: SGD without momentum or decay.  (With Adam, whose steps do not depend on the gradient's size, the
          same rule slows everything, memorisation too: p = 47 at 60 %, learning rate .001, α = .5, 1, 2, 4: a training
          accuracy of .9 near step 39, 88, 330, 1250.)  MSE is the mean over rows and classes, hence the large learning
          rates.
Full      p = 113 at 40 % and width 200, as everywhere in the paper; learning rate 1000 for MSE and 10 for CE; no
          α = 4, which takes too long.  Steps: 5000 for one hidden layer (test .6 after 690 at α = 1), 1500 for two.
Laptop    p = 31 at 70 %, learning rate 100 and 3: the smallest p tried at which one hidden layer generalises at
          α = 1 within a minute (p = 31 at 50 % does not).  At α = 2 it generalises only partly, near .9, so the delay
          is measured to a test accuracy of .5 (first planned to be .9, which α = 2 reached in 1 of 3 seeds).

Result    full, 2026-11-22, 5 seeds, median [range]: with one hidden layer the delay is 188 [124, 237] steps at α = .5,
          406 [351, 475] at 1 and 1208 [950, 1341] at 2; with two hidden layers no run is above 2.3 %, though with MSE
          only 10 of 15 have memorised by step 1500.
          Laptop, 2026-11-22, 3 seeds, median [range]: with one hidden layer the delay is 130 [111, 130]
          steps at α = .5, 175 [173, 183] at 1, 733 [696, 999] at 2, and over 3884 at 4 in every seed (test 20 % at
          step 4000), while memorisation takes 22, 37, 63, 116: the delay grows, and not because learning is slower
          throughout.  With two hidden layers all 24 runs memorise, and the best test accuracy of any is 4.8 % with MSE
          and 5.9 % with CE.
Cost      full: at most 120 000 steps (15 ms with one hidden layer, 30 ms with two), 40 minutes of one core; laptop: at
          most 72 000 steps
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/fig13_alpha.py --size laptop
"""

from pipeline import Arm, SweepSpec
from trainables import MLP, SGD, GrokkingTrial, MeanSquaredError, ModularAddition, SoftmaxCrossEntropy

SHALLOW = {"model": MLP(hidden=(200,)), "loss": MeanSquaredError()}
DEEP = {"model": MLP(hidden=(200, 200)), "loss": MeanSquaredError()}
ENTROPY = {"model": MLP(hidden=(200, 200)), "loss": SoftmaxCrossEntropy()}
NAMES = ("MSE, 1 hidden layer", "MSE, 2 hidden layers", "CE, 2 hidden layers")

SWEEP = {
    "full": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=113, train_fraction=0.4), optimizer=SGD(learning_rate=1000.0), horizon_steps=1500
        ),
        arms=[
            Arm(name=NAMES[0], patch={**SHALLOW, "horizon_steps": 5000}),
            Arm(name=NAMES[1], patch=DEEP),
            Arm(name=NAMES[2], patch={**ENTROPY, "optimizer.learning_rate": 10.0}),
        ],
        axes={"alpha": [0.5, 1.0, 2.0]},
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=GrokkingTrial(
            task=ModularAddition(p=31, train_fraction=0.7), optimizer=SGD(learning_rate=100.0), horizon_steps=1000
        ),
        arms=[
            Arm(name=NAMES[0], patch={**SHALLOW, "horizon_steps": 4000}),
            Arm(name=NAMES[1], patch=DEEP),
            Arm(name=NAMES[2], patch={**ENTROPY, "optimizer.learning_rate": 3.0}),
        ],
        axes={"alpha": [0.5, 1.0, 2.0, 4.0]},
        seeds=range(3),
    ),
}
