"""The baselines' loops beside plain ones: images and tokens a CPU second.

The plain loops are what one would write first, with the same network and the same settings of the optimizer: for
images torchvision's transforms of PIL images in a ``DataLoader``, for text random blocks of a file of tokens.  All
take turns, so that the ratios hold on a machine whose speed drifts; a loader's processes are charged to its loop.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tests.benchmarks.form import Result, main, ratios
from trainables.baselines.gpt2 import GPT2
from trainables.baselines.images import InMemoryImages
from trainables.baselines.language import LanguageTrial
from trainables.baselines.resnet import ResNet18
from trainables.baselines.text import TextSet
from trainables.baselines.trial import BatchTrial
from trainables.baselines.vision import VisionTrial
from trainables.data.sets import Images, Text
from trainables.data.tokenizers import Codec, Tokenizer
from trainables.data.torchvision_guard import torchvision
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.optimizers import SGD, AdamW

ROUNDS, QUICK_ROUNDS = 7, 3
SETTLE_S = 0.3
"""After a turn, for a loader's processes to fill their queues on nobody else's time."""
ROWS, TEST_ROWS, TOKENS, VOCABULARY = 4096, 64, 500_000, 2048


@dataclass(frozen=True, kw_only=True)
class NoiseImages(InMemoryImages):
    """Random pixels in CIFAR's size."""

    classes: int = 10  # type: ignore[misc]

    def read(self) -> tuple[Images, Images]:
        chance = np.random.default_rng(0)
        pixels = [chance.integers(0, 256, (rows, 32, 32, 3), np.uint8) for rows in (ROWS, TEST_ROWS)]
        train, test = (Images(values, np.arange(len(values)) % self.classes, "noise") for values in pixels)
        return train, test


@dataclass(frozen=True, kw_only=True)
class NoText(TextSet):
    """Nothing to read: the tokens are noise."""

    def texts(self) -> tuple[Text, Text]:
        return Text("", "noise"), Text("", "noise")


@dataclass(frozen=True, kw_only=True)
class NoiseTokens(Tokenizer):
    """Random tokens."""

    @property
    def vocabulary(self) -> int:
        return VOCABULARY

    def codec(self, training: Text) -> Codec:
        raise NotImplementedError

    def tokens(self, text: Text, training: Text) -> np.ndarray:
        return np.random.default_rng(0).integers(0, VOCABULARY, TOKENS).astype(np.uint16)

    def fingerprint(self) -> str:
        return "noise"


@dataclass(frozen=True)
class Setup:
    """Where and how the networks run, ours and the plain loops' alike."""

    device: str
    precision: str = "float32"
    compile: bool = False

    def autocast(self) -> torch.autocast:
        enabled = self.precision != "float32"
        return torch.autocast(self.device, getattr(torch, self.precision) if enabled else None, enabled=enabled)

    def network(self, trial: BatchTrial) -> nn.Module:
        """The network that the trial has, for the plain loop."""
        network = trial.to_device(trial.network(), torch.device(self.device))
        return torch.compile(network) if self.compile else network  # type: ignore[return-value]

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


class Pixels(Dataset[tuple[Tensor, int]]):
    """A set as torchvision's are: an image a time, through its transforms."""

    def __init__(self, trial: VisionTrial) -> None:
        held, _ = trial.images.read()  # type: ignore[attr-defined]
        self.pixels, self.labels = held.pixels, held.labels
        self.transform = transforms_of(trial)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[row])), int(self.labels[row])


def transforms_of(trial: VisionTrial) -> Callable[[Image.Image], Tensor]:
    """The usual ones; where torchvision is not installed (a bare GPU machine), the same by hand."""
    mean, std = trial.images.normalisation.mean, trial.images.normalisation.std
    try:
        transforms = torchvision().transforms
    except ModuleNotFoundError:
        return partial(by_hand, mean=torch.tensor(mean).view(3, 1, 1), std=torch.tensor(std).view(3, 1, 1))
    return transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


def by_hand(image: Image.Image, *, mean: Tensor, std: Tensor) -> Tensor:
    """A random crop of the padded image, flipped at random, as a normalised tensor."""
    padded = ImageOps.expand(image, 4)
    left, top = (int(start) for start in torch.randint(9, (2,)))
    cropped = padded.crop((left, top, left + 32, top + 32))
    if torch.rand(1) < 0.5:
        cropped = ImageOps.mirror(cropped)
    return (torch.from_numpy(np.array(cropped)).permute(2, 0, 1).float() / 255 - mean) / std


def plain_vision(trial: VisionTrial, setup: Setup, workers: int) -> Callable[[], object]:
    """One step of the loop that one would write first for images."""
    loader = DataLoader(
        Pixels(trial),
        batch_size=trial.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=setup.device == "cuda",
    )
    network = setup.network(trial).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    def batches() -> Iterator[list[Tensor]]:
        while True:
            yield from loader

    endless = batches()

    def step() -> None:
        images, labels = (part.to(setup.device, non_blocking=True) for part in next(endless))
        if trial.channels_last:
            images = images.to(memory_format=torch.channels_last)
        with setup.autocast():
            loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def plain_language(trial: LanguageTrial, setup: Setup, folder: Path) -> Callable[[], object]:
    """One step of the loop that one would write first for text: random blocks of a file of tokens."""
    path = folder / "tokens.bin"
    if not path.exists():
        NoiseTokens().tokens(*trial.text.texts()).tofile(path)
    tokens, wide = np.memmap(path, dtype=np.uint16, mode="r"), trial.block_size
    network = setup.network(trial).train()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=5e-4, weight_decay=0.01, fused=True if setup.device == "cuda" else None
    )

    def step() -> None:
        starts = torch.randint(len(tokens) - wide - 1, (trial.batch_size,)).tolist()
        blocks = torch.stack([torch.from_numpy(tokens[start : start + wide + 1].astype(np.int64)) for start in starts])
        blocks = blocks.to(setup.device, non_blocking=True)
        with setup.autocast():
            logits = network(blocks[:, :-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), blocks[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def ours(trial: BatchTrial, setup: Setup) -> Callable[[], object]:
    """One step of a cohort."""
    cohort = trial.build([trial], setup.device)
    return lambda: cohort.advance(1)


def turn(step: Callable[[], object], steps: int, setup: Setup, settle_s: float = SETTLE_S) -> tuple[float, float]:
    """CPU and wall-clock seconds a step; the processes that are there at its end count, with what they did in it."""
    setup.wait()
    cpu, wall = _cpu_s(), time.perf_counter()
    for _ in range(steps):
        step()
    setup.wait()
    wall = time.perf_counter() - wall
    time.sleep(settle_s)
    return (_cpu_s() - cpu) / steps, wall / steps


def _cpu_s() -> float:
    """Of this process and of its children."""
    ticks = 0
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def compare(
    title: str, contestants: dict[str, Callable[[], object]], items: int, steps: int, setup: Setup, rounds: int
) -> Iterator[Result]:
    """Let them take turns; the ratios are to the first, round by round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        # To and fro: whoever goes first has no advantage of it.
        for name, step in list(contestants.items())[:: -1 if number % 2 else 1]:
            found = turn(step, steps if number else 2, setup)
            if number:  # the first round warms up
                times[name].append(found)
    where = f"{title}, {setup.precision}{', compiled' if setup.compile else ''}"
    (plain, plain_times), *others = times.items()
    for name, values in others:
        yield Result.of(
            name,
            ratios([cpu for cpu, _ in plain_times], [cpu for cpu, _ in values]),
            what=f"{where}: a CPU second, of the {plain}'s",
            goal=1.0 if name == "ours" else None,
            higher_is_better=True,
            raw={
                "per_cpu_s": items / statistics.median(cpu for cpu, _ in values),
                "per_s": items / statistics.median(wall for _, wall in values),
                "plain_per_cpu_s": items / statistics.median(cpu for cpu, _ in plain_times),
            },
        )


def vision(stem: str, batch_size: int, steps: int, setup: Setup, rounds: int) -> Iterator[Result]:
    trial = VisionTrial(
        images=NoiseImages(),
        model=ResNet18(stem=stem),
        batch_size=batch_size,
        optimizer=SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-4),
        precision=setup.precision,
        compile=setup.compile,
        horizon_steps=10**6,
    )
    planes = trial.replace(channels_last=False)
    yield from compare(
        f"ResNet-18, stem {stem}, 32×32, batches of {batch_size}: images",
        {
            "plain loop": plain_vision(planes, setup, 0),
            "plain loop, 2 workers": plain_vision(planes, setup, 2),
            "plain loop, channels last": plain_vision(trial, setup, 0),
            "ours, channels first": ours(planes, setup),
            "ours": ours(trial, setup),
            "ours, ⊥Grad": ours(trial.replace(gradient=OrthogonalGradient()), setup),
        },
        batch_size,
        steps,
        setup,
        rounds,
    )


def language(model: GPT2, block_size: int, steps: int, setup: Setup, folder: Path, rounds: int) -> Iterator[Result]:
    trial = LanguageTrial(
        text=NoText(),
        tokenizer=NoiseTokens(),
        model=model,
        block_size=block_size,
        optimizer=AdamW(learning_rate=5e-4, weight_decay=0.01),
        precision=setup.precision,
        compile=setup.compile,
        horizon_steps=10**6,
    )
    yield from compare(
        f"GPT-2, {model.layers} layers of {model.width}, batches of 16 × {block_size}: tokens",
        {
            "plain loop": plain_language(trial, setup, folder),
            "ours": ours(trial, setup),
            "ours, ⊥Grad": ours(trial.replace(gradient=OrthogonalGradient()), setup),
        },
        16 * block_size,
        steps,
        setup,
        rounds,
    )


def measure(quick: bool) -> Iterator[Result]:
    torch.set_num_threads(1)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        cpu = Setup("cpu")
        yield from vision("imagenet", 128, 3, cpu, rounds)
        yield from vision("cifar", 32, 1, cpu, rounds)
        yield from language(GPT2(layers=4, heads=4, width=128), 64, 8, cpu, Path(folder), rounds)
        yield from language(GPT2(layers=6, heads=6, width=384), 128, 1, cpu, Path(folder), rounds)


if __name__ == "__main__":
    main(measure)
