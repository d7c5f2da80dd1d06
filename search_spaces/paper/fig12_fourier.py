"""Is a network that groks without decay sparse in Fourier space?  (Prieto et al. 2025, Fig. 12)

The run of Fig. 1b: the default MLP on addition mod 113 with 40 % of the pairs, StableMax cross-entropy in float64,
AdamW at learning rate .01 without decay, for 80 000 steps.  We measure the power of the discrete Fourier transform of
the output weights over the classes, sine and cosine of a frequency together, summed over the hidden units.

Choices   beta2 .999 and eps 1e-25, as in Fig. 1b.  The constant does not count as a frequency; a tenth of the
          frequencies is rounded up (6 of 56).
Laptop    The StableMax runs of Fig. 11's laptop size: p = 79 with 95 % of the pairs, hidden layers of 128,
          learning rate .03 (4 of 39 frequencies).

Result    laptop, 2026-11-22, 3 seeds, median [range]: not met.  The strongest tenth of the frequencies holds 32 % [26,
          33] of the power, from 12 % at step 0 (Gini coefficient .05 to .50 [.43, .53]), with a test accuracy of 98 %
          [96, 99] at step 500.  The spectrum concentrates while the network generalises, but a third of the
          frequencies stay in use: with 95 % of the pairs that is enough, and 500 steps are a short time for the rest
          to fade.  This says little about 80 000 steps at 40 %.  Full: not run.
Cost      full: 400 000 steps, shared with Fig. 1b if run with this probe; laptop: 1500 steps, shared with Fig. 11
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/fig12_fourier.py --size laptop
"""

from pipeline import SweepSpec
from trainables import (
    MLP,
    STANDARD,
    AdamW,
    FourierSpectrum,
    GrokkingTrial,
    ModularAddition,
    StableMaxCrossEntropy,
    Stopping,
)

TRIAL = {
    "loss": StableMaxCrossEntropy(dtype="float64"),
    "stopping": Stopping(on_success=False),
    "probes": (*STANDARD, FourierSpectrum()),
}

SWEEP = {
    "full": SweepSpec(
        base=GrokkingTrial(
            **TRIAL,
            task=ModularAddition(p=113, train_fraction=0.4),
            model=MLP(hidden=(200, 200), bias=False),
            optimizer=AdamW(learning_rate=0.01, betas=(0.9, 0.999), eps=1e-25),
            horizon_steps=80_000,
        ),
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=GrokkingTrial(
            **TRIAL,
            task=ModularAddition(p=79, train_fraction=0.95),
            model=MLP(hidden=(128, 128), bias=False),
            optimizer=AdamW(learning_rate=0.03, betas=(0.9, 0.999), eps=1e-25),
            horizon_steps=500,
        ),
        seeds=range(3),
    ),
}
