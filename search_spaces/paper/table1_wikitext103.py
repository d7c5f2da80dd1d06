"""Does GPT-2 small on WikiText-103 do as well with ⊥AdamW, and worse with StableMax in the loss or in the attention?

Fig. 17(a), whose title says WikiText-2, and the last column of Table 1 of Prieto et al. 2025, top-5 accuracy: one
epoch, batches of 16 blocks of 512 tokens, AdamW with learning rate 5e-4 and weight decay .01, a cosine after 1000 steps
of warm-up.  StableMax in the loss is 8.6 points below softmax there, in the attention 2 points; three seeds.

Choices   The paper does not give the other settings.  We use the library's betas (.9, .999) and eps 1e-8, GPT-2's
          dropout .1, a cosine that ends at 0, the test split, and float32.  StableMax in the loss in float64, in the
          attention in float32, and ⊥ by tensor and rescaled, as in the released code; betas and decay stay under
          ⊥AdamW.  An epoch has 14 395 steps: as raw text, the training text is known to have 117 920 140 of GPT-2's
          tokens; with <unk>, as here, it has about as many, and the column ``epoch`` reports the exact share seen.
Laptop    WikiText-2 with a vocabulary of 2048 tokens trained on it, 4 layers of width 128 and 4 heads, blocks of 64
          tokens, and 900 steps, a quarter of an epoch, with 60 of warm-up; a learning rate of 2e-3, because with a
          smaller one so small a model learns little in so few steps; three seeds; the first 16 384 tokens of the test
          split.  Chosen before any run, to fit into 15 minutes.

Result    laptop, on WikiText-2, 2026-11-22, 3 seeds, mean ± sd of the top-5 accuracy: softmax 37.0 ± 1.8, StableMax in
          the loss 24.6 ± 1.5, ⊥AdamW 33.4 ± .3, StableMax in the attention 37.2 ± 1.6.  Paired by seed, StableMax in
          the loss is -12.5 [-19.4, -5.5] points from softmax (met: clearly below), ⊥AdamW -3.6 [-7.5, .2] (undecided,
          below in every seed), StableMax attention +.2 [-.6, .9].
Cost      full: 172 740 steps in 12 trials; laptop: 10 800 steps in 12 trials, 32 minutes on two busy cores, of which
          it used 22 core-minutes
Hardware  2 CPU cores
Command   python -m pipeline.sweep search_spaces/paper/table1_wikitext103.py --size laptop
"""

from pipeline import Arm, SweepSpec
from trainables import (
    GPT2,
    GPT2BPE,
    STANDARD,
    AdamW,
    Cosine,
    EverySteps,
    LanguageTrial,
    LogitScale,
    OrthogonalGradient,
    Perplexity,
    SoftmaxCrossEntropy,
    StableMaxCrossEntropy,
    TopAccuracy,
    TrainedBPE,
    WikiText2,
    WikiText103,
)

TRIAL = {
    "batch_size": 16,
    "loss": SoftmaxCrossEntropy(),
    "probes": (*STANDARD, TopAccuracy(k=5), Perplexity(), LogitScale()),
}
ARMS = [
    Arm(name="softmax CE"),
    Arm(name="StableMax CE", patch={"loss": StableMaxCrossEntropy()}),
    Arm(name="⊥AdamW", patch={"gradient": OrthogonalGradient()}),
    Arm(name="StableMax attention", patch={"model.attention": "stablemax"}),
]

SWEEP = {
    "full": SweepSpec(
        base=LanguageTrial(
            text=WikiText103(),
            tokenizer=GPT2BPE(),
            model=GPT2(),
            block_size=512,
            **TRIAL,
            optimizer=AdamW(learning_rate=5e-4, weight_decay=0.01),
            schedule=Cosine(total_steps=14_395, warmup_steps=1000),
            horizon_steps=14_395,
            measuring=EverySteps(every_steps=500),
        ),
        arms=ARMS,
        seeds=range(3),
    ),
    "laptop": SweepSpec(
        base=LanguageTrial(
            text=WikiText2(),
            tokenizer=TrainedBPE(vocabulary=2048),
            model=GPT2(layers=4, heads=4, width=128),
            block_size=64,
            **TRIAL,
            optimizer=AdamW(learning_rate=2e-3, weight_decay=0.01),
            schedule=Cosine(total_steps=900, warmup_steps=60),
            horizon_steps=900,
            measuring=EverySteps(every_steps=100),
            test_rows=256,
        ),
        arms=ARMS,
        seeds=range(3),
    ),
}
