"""Mini-batch updates against the engine's own optimizers and against a plain loop of torch's."""

import pytest
import torch
from torch.nn import functional

from tests.support.small_batches import SmallTrial
from tests.unit.baselines.test_batch_cohort import OPTIMIZERS, built
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.gradients_filtered import GrokfastEMA
from trainables.engine.losses import SoftmaxCrossEntropy


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("rule", [OrthogonalGradient(), GrokfastEMA()], ids=lambda rule: type(rule).__name__)
def test_predicted_update_is_the_actual_one(name, rule):
    """The engine's functional update against torch's fused one, over 20 updates."""
    trial = SmallTrial(horizon_steps=40, optimizer=OPTIMIZERS[name], gradient=rule)
    cohort = built(trial)
    for _ in range(20):
        cohort.measure()
        foreseen = cohort._updates.predict(cohort._directions.of(cohort._gradients(), cohort.step + 1)[0])
        before = cohort.snapshot(0)
        cohort.advance(1)
        for key, value in cohort.snapshot(0).items():
            moved = torch.from_numpy(value - before[key])
            torch.testing.assert_close(foreseen[key][0], moved, rtol=1e-4, atol=2e-7)


@pytest.mark.parametrize("optimizer", ["momentum", "AdamW"])
def test_run_against_a_plain_loop(optimizer):
    """The usual training loop of torch, on the same weights and batches: equal within rounding after 10 steps."""
    config, norm = OPTIMIZERS[optimizer], optimizer == "momentum"  # Adam makes much of the norm's tiny gradients
    trial = SmallTrial(horizon_steps=40, optimizer=config, loss=SoftmaxCrossEntropy(label_smoothing=0.1), norm=norm)
    cohort = built(trial)
    cohort.advance(10)
    network, batches = trial.network().train(), trial.batches("cpu")
    if optimizer == "AdamW":
        judge = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, betas=config.betas, eps=config.eps, weight_decay=0.1
        )
    else:
        judge = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    for step in range(10):
        batch = batches.train(step, 0, batches.order.size(step))
        judge.zero_grad()
        functional.cross_entropy(network(batch.inputs), batch.labels, label_smoothing=0.1).backward()
        judge.step()
    state = cohort.state_dict(0)
    for key, value in network.state_dict().items():
        found = (state["parameters"] | state["buffers"])[key]
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-4)
