"""Does ResNet-18 on ImageNet-1k do as well with ⊥SGD, and worse with StableMax in the loss?

The third column of Table 1 of Prieto et al. 2025, where StableMax is 3.5 points below softmax cross-entropy: SGD with
momentum .9 and weight decay 1e-4, random crop and flip, the learning rate divided by 10 after 30, 60 and 90 of 100
epochs; three seeds, accuracy on the 50 000 validation images.

Choices   The paper does not give batch size, learning rate and crop.  We take torchvision's ImageNet reference: batches
          of 256, a learning rate of .1, and a random resized crop of 224 pixels; evaluation on the central crop.
          StableMax in float64, and ⊥ by tensor and rescaled, as in the released code; momentum and decay stay under
          ⊥SGD.  An epoch has 5005 steps.  Float32.
Laptop    Ten of the thousand classes: Imagenette (fast.ai's subset, the folder imagenette2-160 in the data folder),
          9000 of its 9469 training images, different ones for each seed, in crops of 32 pixels; batches of 128 and 5
          epochs of 71 steps, because decoding costs as much as training; decays at the same shares of the run; three
          seeds; 3925 validation images.  StableMax's deficit may depend on the number of classes; this size does not
          test that.

Result    not run
Cost      full: 4 504 500 steps in 9 trials; laptop: 3195 steps in 9 trials, predicted to take 15 minutes
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/table1_imagenet.py --size laptop
"""

from pipeline import Arm, SweepSpec
from trainables import (
    SGD,
    STANDARD,
    EverySteps,
    ImageFolder,
    ImageNet1k,
    LogitScale,
    OrthogonalGradient,
    RandomResizedCropFlip,
    ResNet18,
    SoftmaxCrossEntropy,
    StableMaxCrossEntropy,
    StepDecay,
    VisionTrial,
)

TRIAL = {
    "model": ResNet18(stem="imagenet"),
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
            images=ImageNet1k(),
            augmentation=RandomResizedCropFlip(size=224),
            batch_size=256,
            **TRIAL,
            schedule=StepDecay(every_steps=30 * 5005),
            horizon_steps=100 * 5005,
            measuring=EverySteps(every_steps=5005),
            measured_train_rows=5000,
        ),
        arms=ARMS,
        seeds=range(3),
    ),
    "laptop": SweepSpec(
        base=VisionTrial(
            images=ImageFolder(name="imagenette2-160", classes=10, train_rows=9000),
            augmentation=RandomResizedCropFlip(size=32),
            batch_size=128,
            **TRIAL,
            schedule=StepDecay(every_steps=107),
            horizon_steps=5 * 71,
            measuring=EverySteps(every_steps=71),
        ),
        arms=ARMS,
        seeds=range(3),
    ),
}
