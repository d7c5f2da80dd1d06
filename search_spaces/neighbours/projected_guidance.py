"""What does guidance lose when its part along the prediction is left out?  (Sadat et al. 2025)

A conditional diffusion model of eight Gaussians is sampled deterministically under guidance of strength w, whose part
along the prediction has the weight η, whose size is limited by r and which has the momentum β: CFG is (η = 1, no r,
β = 0), APG in full (η = 0, r the median of ‖g‖, β = -.5).  `trainables/neighbours/projected_guidance.py` has the
equations and the origin of each setting.  How it bears on grokking: ⊥Grad is the same projection, of a gradient off the
weights in place of a guidance off the prediction; both leave out the part that only lengthens a vector.

The statement, with the cells in which it is judged (fixed before any seed from 100 on was run).  In 32 dimensions, with
the trained denoiser and at the high guidance w = 16, in every seed, APG in full against CFG:

1. the norm error, the difference from 1 of the samples' mean norm over the data's, is at most half of CFG's;
2. precision is at least CFG's less 2 points (more is no fault);
3. recall is at least CFG's.

And in every seed, in both dimensions and with both denoisers:

4. at w = 1 in every arm, and in the arm CFG at every w, the prediction is D_u + w (D_c - D_u) within 1e-6 at each step
   of the sampler, in every coordinate of every sample.

Precision is the share of the 1000 samples that lie within reach of any of 1000 rows of data, recall that of the rows
within reach of any sample, where a point's reach is the distance to its third nearest neighbour in its own set
(Kynkäänniemi et al. 2019); all classes are taken together, equally many of each.  The other cells are
reported: single parts, η between, half of r, smaller w, two dimensions, the exact denoiser.

Choices   w = 16 is high: seeds 0 to 2 were looked at first, under CFG alone, where the norm error is .26 to .35 at 16
          and .04 to .09 at 8.  Of these seeds also came 64 steps of the sampler (with 32 the samples are 2 % too short
          without guidance), and the training's rate and share of rows without class, by the error of the denoiser
Result    2026-11-27, 10 seeds, not met, by part 3; part 1 undecided, parts 2 and 4 met.  Means with 95 % intervals:
          1. the norm error is .128 [.125, .130] with APG, whose samples are too short, and .274 [.247, .302] with CFG,
          whose samples are too long: at most half in 7 of 10 seeds (.47 [.42, .53] times as large).
          2. precision is .856 [.843, .868] with APG, .161 [.132, .191] with CFG; in 10 of 10 seeds.
          3. recall is .058 [.051, .066] with APG, .439 [.386, .492] with CFG; not lower in 0 of 10.  The reach makes
          the difference: at seed 100, looked at afterwards, its median is 4.3 among APG's samples, 6.9 among CFG's and
          6.1 in the data, and 87 % of the data's rows have a sample of APG's within 6.1, 21 % one of CFG's.
          4. at most 1.4e-14, in 280 runs.
          With the exact denoiser parts 1 to 3 would hold in every seed: norm error .043 [.038, .049] with APG and .635
          [.630, .640] with CFG, precision .885 [.870, .899] and .030 [.018, .041], recall .493 [.456, .530] and .001.
          Parts of APG at w = 16: r alone ends .201 [.180, .222] too long, β alone .102 [.087, .117] too long, the
          projection alone .183 [.180, .187] too short with recall .026 [.015, .037]; with half of the parallel part
          .285 [.265, .305] too long, as CFG.  Two dimensions, trained: APG .049 [.039, .059], CFG 1.9 [1.5, 2.3].
          Smaller w: CFG's norm error is .075, .077, .055 at 2, 4, 8 (exact denoiser .077, .203, .380); APG at w = 2 has
          .022 [.018, .026], precision .829 [.817, .842] (CFG .776), recall .599 [.581, .617] (CFG .533)
Cost      42 240 steps and 20 networks; 7 minutes of one core
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/neighbours/projected_guidance.py
"""

from pipeline import Arm, SweepSpec
from trainables import EverySteps, ProjectedGuidance

SWEEP = SweepSpec(
    base=ProjectedGuidance(horizon_steps=64, measuring=EverySteps(every_steps=64)),
    arms=[
        Arm(
            name="CFG",
            axes={"dimension": [2, 32], "denoiser": ["trained", "exact"], "scale": [1, 2, 4, 8, 16]},
        ),
        Arm(
            name="rescaled",
            patch={"norm_limit": 1},
            axes={"dimension": [32], "denoiser": ["trained", "exact"], "scale": [1, 2, 4, 8, 16]},
        ),
        Arm(
            name="⊥",
            patch={"parallel_share": 0},
            axes={"dimension": [32], "denoiser": ["trained", "exact"], "scale": [1, 2, 4, 8, 16]},
        ),
        Arm(
            name="APG",
            patch={"parallel_share": 0, "norm_limit": 1, "momentum": -0.5},
            axes={"dimension": [2, 32], "denoiser": ["trained", "exact"], "scale": [1, 2, 4, 8, 16]},
        ),
        Arm(name="half ∥", axes={"parallel_share": [0.5], "scale": [2, 4, 8, 16]}),
        Arm(
            name="APG, half of r",
            patch={"parallel_share": 0, "norm_limit": 0.5, "momentum": -0.5},
            axes={"scale": [16]},
        ),
        Arm(name="momentum", patch={"momentum": -0.5}, axes={"scale": [16]}),
    ],
    seeds=range(100, 110),
)
