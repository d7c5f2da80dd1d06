"""ResNet-18 and GPT-2 beside their plain loops: images and tokens a second by the clock, the contestants in turn."""

import itertools
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from tests.benchmarks.bench_baselines import (
    SETTLE_S,
    NoiseImages,
    NoiseTokens,
    NoText,
    Setup,
    ours,
    plain_language,
    plain_vision,
    turn,
)
from tests.benchmarks.form import ratios
from tests.benchmarks.gpu.report import Section
from tests.benchmarks.gpu.resnet import ResNet18ByHand
from tests.benchmarks.gpu.throughput import release
from trainables.baselines.gpt2 import GPT2
from trainables.baselines.language import LanguageTrial
from trainables.baselines.vision import VisionTrial
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.optimizers import SGD, AdamW

ROUNDS = 3
COMPILATION_S = 120.0
"""What must be left of the section's time for a network to be compiled, once a loop."""


@dataclass(frozen=True)
class Sizes:
    """How much of each network a run takes."""

    images: int = 128
    """A batch."""
    stems: tuple[str, ...] = ("imagenet", "cifar")
    model: GPT2 = GPT2()
    texts: int = 16
    block: int = 512
    steps: int = 20
    rounds: int = ROUNDS
    settle_s: float = SETTLE_S


DRY = Sizes(
    images=4,
    stems=("imagenet",),
    model=GPT2(layers=1, heads=1, width=8),
    texts=2,
    block=8,
    steps=1,
    rounds=1,
    settle_s=0.0,
)


def run(section: Section, device: torch.device, *, dry: bool) -> None:
    """Without compilation in both precisions, then compiled, which takes longest to begin."""
    sizes = DRY if dry else Sizes()
    with tempfile.TemporaryDirectory() as folder:
        for compiled, precision in itertools.product((False,) if dry else (False, True), ("float32", "bfloat16")):
            setup = Setup(device.type, precision, compiled)
            for stem in () if dry and precision != "float32" else sizes.stems[: 1 if compiled else None]:
                _attempt(section, f"ResNet-18, stem {stem}", setup, partial(vision, stem, setup, sizes), sizes.images)
            text = partial(language, setup, sizes, Path(folder))
            _attempt(section, "GPT-2", setup, text, sizes.texts * sizes.block)


def _attempt(
    section: Section, network: str, setup: Setup, make: Callable[[], dict[str, Callable[[], object]]], items: int
) -> None:
    sizes = DRY if section.dry else Sizes()

    def compare() -> None:
        release(torch.device(setup.device))
        for name, (rate, times_plain, first_s) in compared(make(), items, setup, sizes).items():
            section.row(
                what="baseline",
                network=network,
                precision=setup.precision,
                compiled=setup.compile,
                loop=name,
                per_s=rate,
                times_plain=times_plain,
                first_steps_s=first_s,
            )

    name = f"{network}, {setup.precision}{', compiled' if setup.compile else ''}"
    section.attempt(name, compare, needs_s=COMPILATION_S if setup.compile else 0.0)


def compared(
    contestants: dict[str, Callable[[], object]], items: int, setup: Setup, sizes: Sizes
) -> dict[str, tuple[float, float, float]]:
    """Items a second, the same as a multiple of the fastest plain loop's, and what the first steps took."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    first_s = {name: 2 * turn(step, 2, setup, sizes.settle_s)[1] for name, step in contestants.items()}
    for number in range(sizes.rounds):
        # To and fro: whoever goes first has no advantage of it.
        for name, step in list(contestants.items())[:: -1 if number % 2 else 1]:
            times[name].append(turn(step, sizes.steps, setup, sizes.settle_s)[1])
    plain = min((values for name, values in times.items() if name.startswith("plain")), key=statistics.median)
    return {
        name: (items / statistics.median(values), statistics.median(ratios(plain, values)), first_s[name])
        for name, values in times.items()
    }


def vision(stem: str, setup: Setup, sizes: Sizes) -> dict[str, Callable[[], object]]:
    """The loops over images of CIFAR's size."""
    trial = VisionTrial(
        images=NoiseImages(),
        model=ResNet18ByHand(stem=stem),
        batch_size=sizes.images,
        optimizer=SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-4),
        precision=setup.precision,
        compile=setup.compile,
        horizon_steps=10**6,
    )
    contestants = {"plain loop": plain_vision(trial.replace(channels_last=False), setup, 0)}
    if setup.device == "cuda":
        workers = min(8, os.cpu_count() or 1)
        contestants[f"plain loop, {workers} workers, channels last"] = plain_vision(trial, setup, workers)
    contestants["ours"] = ours(trial, setup)
    if not setup.compile:
        contestants["ours, ⊥Grad"] = ours(trial.replace(gradient=OrthogonalGradient()), setup)
    return contestants


def language(setup: Setup, sizes: Sizes, folder: Path) -> dict[str, Callable[[], object]]:
    """The loops over blocks of tokens."""
    trial = LanguageTrial(
        text=NoText(),
        tokenizer=NoiseTokens(),
        model=sizes.model,
        batch_size=sizes.texts,
        block_size=sizes.block,
        optimizer=AdamW(learning_rate=5e-4, weight_decay=0.01),
        precision=setup.precision,
        compile=setup.compile,
        horizon_steps=10**6,
    )
    contestants = {"plain loop": plain_language(trial, setup, folder), "ours": ours(trial, setup)}
    if not setup.compile:
        contestants["ours, ⊥Grad"] = ours(trial.replace(gradient=OrthogonalGradient()), setup)
    return contestants
