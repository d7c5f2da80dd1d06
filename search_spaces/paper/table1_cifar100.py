"""Does ResNet-18 on CIFAR-100 do as well with StableMax in the loss, and better with ⊥SGD?

Fig. 17(b) and the second column of Table 1 of Prieto et al. 2025, where ⊥SGD is 2.7 points above softmax
cross-entropy: the recipe of table1_cifar10.py on the 100 fine classes; five seeds, accuracy on the test set.

Choices   As for CIFAR-10.
Laptop    As for CIFAR-10, but with 20 000 of the training rows and half as many epochs: with 100 classes, 10 000 rows
          would leave only 100 images per class.  3 epochs of 157 steps; three seeds; all 10 000 test rows.

Result    not run
Cost      full: 586 500 steps in 15 trials; laptop: 4239 steps in 9 trials, predicted to take 14 minutes
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/table1_cifar100.py --size laptop
"""

from pipeline import Arm, SweepSpec
from trainables import (
    CIFAR100,
    SGD,
    STANDARD,
    EverySteps,
    LogitScale,
    OrthogonalGradient,
    RandomCropFlip,
    ResNet18,
    SoftmaxCrossEntropy,
    StableMaxCrossEntropy,
    StepDecay,
    VisionTrial,
)

TRIAL = {
    "model": ResNet18(stem="imagenet"),
    "augmentation": RandomCropFlip(padding=4),
    "batch_size": 128,
    "optimizer": SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-4),
    "loss": SoftmaxCrossEntropy(),
    "probes": (*STANDARD, LogitScale()),
}
ARMS = [
    Arm(name="softmax CE"),
    Arm(name="StableMax CE", patch={"loss": StableMaxCrossEntropy()}),
    Arm(name="⊥SGD", patch={"gradient": OrthogonalGradient()}),
]

SWEEP = {
    "full": SweepSpec(
        base=VisionTrial(
            images=CIFAR100(),
            **TRIAL,
            schedule=StepDecay(every_steps=30 * 391),
            horizon_steps=100 * 391,
            measuring=EverySteps(every_steps=391),
        ),
        arms=ARMS,
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=VisionTrial(
            images=CIFAR100(train_rows=20_000),
            **TRIAL,
            schedule=StepDecay(every_steps=141),
            horizon_steps=3 * 157,
            measuring=EverySteps(every_steps=79),
        ),
        arms=ARMS,
        seeds=range(3),
    ),
}
