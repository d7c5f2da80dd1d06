"""Sweeps of mini-batch trials as small as they can be, in files of their own: images in Parquet, and one text file."""

from pathlib import Path

from tests.support.small_images import write_images

LANGUAGE = '''"""A tiny language model."""
from pipeline.spec import Arm, SweepSpec
from trainables.baselines.gpt2 import GPT2
from trainables.baselines.text import TextFiles
from trainables.data.tokenizers import Bytes
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.losses import StableMaxCrossEntropy
from trainables.engine.trial import EverySteps
from trainables.baselines.language import LanguageTrial

BASE = LanguageTrial(
    text=TextFiles(train={data!r} + "/train.txt", test={data!r} + "/test.txt"),
    tokenizer=Bytes(),
    model=GPT2(layers=2, heads=2, width=32),
    block_size=16,
    batch_size=8,
    measured_train_rows=8,
'''
VISION = '''"""A residual network on a few images."""
from pipeline.spec import Arm, SweepSpec
from trainables.baselines.images import ParquetImages
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.losses import StableMaxCrossEntropy
from trainables.engine.trial import EverySteps
from trainables.baselines.vision import VisionTrial

BASE = VisionTrial(
    images=ParquetImages(train={data!r} + "/train.parquet", test={data!r} + "/test.parquet", classes=10),
    batch_size=4,
    measured_train_rows=8,
'''
TIMES = """    horizon_steps={horizon},
    measuring=EverySteps(every_steps={every}),
)
"""


def write_language_space(folder: Path, sweep: str = "base=BASE", *, horizon: int, every: int, data: Path) -> None:
    """``tiny.py``; an epoch has 5 steps, of which the last is half a batch.

    :param sweep: the arguments of its ``SweepSpec``.
    :param data: where the text lies, or is put.
    """
    for name, blocks in (("train", 36), ("test", 4)):
        (data / f"{name}.txt").write_text(("The cat sat on the mat. A dog ran to the door. " * 20)[: 16 * blocks + 1])
    _write(folder, LANGUAGE, sweep, horizon, every, data)


def write_vision_space(folder: Path, sweep: str = "base=BASE", *, horizon: int, every: int, data: Path) -> None:
    """The same of 18 images."""
    for name, rows in (("train", 18), ("test", 6)):
        if not (data / f"{name}.parquet").exists():
            write_images(data / f"{name}.parquet", rows=rows, format="PNG")
    _write(folder, VISION, sweep, horizon, every, data)


def _write(folder: Path, base: str, sweep: str, horizon: int, every: int, data: Path) -> None:
    text = base.format(data=str(data)) + TIMES.format(horizon=horizon, every=every)
    (folder / "tiny.py").write_text(f"{text}\nSWEEP = SweepSpec({sweep})\n")
