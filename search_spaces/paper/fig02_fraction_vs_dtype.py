"""Where does softmax collapse stop generalisation, and in which dtype?  (Prieto et al. 2025, Fig. 2)

The default MLP (226-200-200-113, no bias) on addition mod 113, AdamW at learning rate 5e-4 without decay, with 40, 60
and 70 % of the pairs and the softmax in float16, float32 and float64: compare the share of collapsed rows with the
accuracies.

Choices   Betas (.9, .99); eps 1e-30 with 40 % and 1e-25 otherwise, as released.  The paper's 2a marks "50 % SC", but
          its order over dtypes is not monotone in any release, so we claim no order there.  float64 stays float64 to
          the end (the released code casts the final scalar back, which is harmless).  On a CPU float16 rounds the sum
          and its logarithm to half precision, so the loss of a collapsed row is 0; a GPU adds in float32, and there it
          becomes 0 only at a margin of 19 (measured: tests/benchmarks/gpu), with the same share of collapsed rows.
Laptop    Two hidden layers of 64 at learning rate 5e-3, so that half of the rows collapse within 3000 steps in float16
          and float32; 40 and 70 % only.  At width 200 this learning rate generalises far more slowly (70 %, float32:
          9 % at step 500).  With p = 23 to 71 no dtype generalises within minutes: with up to 90 % of the pairs at
          most 24 % at step 600.  (A first run to step 1500 was too short: only float16 had collapsed.)

Result    laptop, 2026-11-22, 3 seeds, median [range].  70 %: half of the rows have collapsed at step 448 [427, 470] in
          float16, 2095 [1996, 2095] in float32 and not by 3000 in float64, in the expected order; growth slows 18 times
          in float16.  The final accuracies are not ordered: .84 [.77, .85], .82 [.74, .86], .86 [.78, .89].  float16
          falls 5 points behind float32 by step 1500, collapsed, and catches up again: with beta2 .99 and this learning
          rate a collapsed run keeps moving (presumably slingshots; not investigated).  40 %: at most .010 in 500
          steps.  Full, 2026-11-27, 5 seeds, H200: the order of the paper in every seed, of the collapse and of the
          accuracies.  70 %: half of the rows have collapsed at 1725, 2944 and 6737, and the test accuracy ends at .43
          [.30, .49], .65 [.49, .71] and .90 [.78, .92].  60 %: 1901, 2944 and 6737; .11 [.08, .14], .23 [.17, .25] and
          .40 [.34, .53].  40 %: at most .010.  That growth slows 5-fold at the onset holds in float32 and float64, and
          not in float16 (1.6 and 3.1 times), whose growth stalls before half of its rows have collapsed.  On a
          CPU, one seed to step 12 000: collapse at the same steps, but float16 goes on to .64 (70 %) and .23 (60 %), as
          far as float32.
Cost      full: 45 x 20 000 steps of 35 to 60 ms, 12 hours of one core, 6 minutes of a GPU that trains two other figures
          beside; laptop: 9 x 3000 and 9 x 500 steps, 6 minutes
Hardware  laptop: 2 CPU cores; full: one NVIDIA H200
Command   python -m pipeline.sweep search_spaces/paper/fig02_fraction_vs_dtype.py --size laptop
"""

from pipeline import Arm, SweepSpec
from trainables import MLP, AdamW, GrokkingTrial, ModularAddition, SoftmaxCrossEntropy

BASE = GrokkingTrial(
    task=ModularAddition(p=113, train_fraction=0.4),
    model=MLP(hidden=(200, 200), bias=False),
    loss=SoftmaxCrossEntropy(dtype="float32"),
    optimizer=AdamW(learning_rate=5e-4, betas=(0.9, 0.99), eps=1e-25),
    horizon_steps=20_000,
)
DTYPES = {"loss.dtype": ["float16", "float32", "float64"]}

SWEEP = {
    "full": SweepSpec(
        base=BASE,
        axes=DTYPES,
        arms=[
            Arm(name="2a", patch={"optimizer.eps": 1e-30}),
            Arm(name="2b", patch={"task.train_fraction": 0.6}),
            Arm(name="2c", patch={"task.train_fraction": 0.7}),
        ],
        seeds=range(5),
    ),
    "laptop": SweepSpec(
        base=BASE.replace(
            model=MLP(hidden=(64, 64), bias=False),
            optimizer=AdamW(learning_rate=5e-3, betas=(0.9, 0.99), eps=1e-25),
            horizon_steps=3000,
        ),
        axes=DTYPES,
        arms=[
            Arm(name="2a", patch={"optimizer.eps": 1e-30, "horizon_steps": 500}),
            Arm(name="2c", patch={"task.train_fraction": 0.7}),
        ],
        seeds=range(3),
    ),
}
