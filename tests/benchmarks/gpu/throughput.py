"""Trial-steps a second over the number of members, beside the plain loop and beside the arithmetic floor.

The floor is what the step's matrix products alone would take at the rate that this device reached with large ones, in
the same dtype and the same run.  A trial is :data:`HORIZON` steps with the measurements of the standard schedule.  A
GPU replays a step; of the default trial the rows say what launching its kernels one by one takes, too.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg

from tests.benchmarks import bench_engine_step
from tests.benchmarks.gpu.counting import counted
from tests.benchmarks.gpu.rates import ROUND_S, copy_rate, peak_bytes, product_rate, seconds_of, wait
from tests.benchmarks.gpu.report import Section
from trainables.engine.cohort import GrokkingCohort
from trainables.engine.encodings import Tokens
from trainables.engine.losses import Loss, SoftmaxCrossEntropy, StableMaxCrossEntropy
from trainables.engine.models import DTYPES, MLP, Model
from trainables.engine.replay import unrecorded
from trainables.engine.transformer import Transformer
from trainables.engine.trial import Measuring, Seeds
from trainables.grokking import GrokkingTrial

HORIZON = 1500
"""Steps of a trial, as in search_spaces/wd_vs_orthograd.py."""
MEMBERS = (1, 4, 16, 64, 128, 256, 512)
SOME_MEMBERS = (1, 64, 256)
MOST_OF_MEMORY = 0.85
"""Of what is free: more members than fit into it are left out."""


@dataclass(frozen=True)
class Case:
    """One kind of trial and the sizes of its cohorts."""

    p: int
    model: Model
    loss: Loss
    members: tuple[int, ...]

    @property
    def name(self) -> str:
        model, loss = type(self.model).__name__, type(self.loss).__name__
        return f"p {self.p}, {model} in {self.weights}, {loss} in {self.loss.dtype}"

    @property
    def weights(self) -> str:
        """The dtype of the weights."""
        return self.model.dtype  # type: ignore[attr-defined]

    def trial(self, seed: int = 0) -> GrokkingTrial:
        """The trial of a seed."""
        trial = bench_engine_step.trial(self.p, seed)
        task = trial.task.replace(inputs=Tokens()) if self.tokens else trial.task
        return trial.replace(task=task, model=self.model, loss=self.loss)

    def cohort(self, members: int, device: torch.device) -> GrokkingCohort:
        """The cohort of as many seeds."""
        return GrokkingTrial.build([self.trial(seed) for seed in range(members)], str(device))

    @property
    def tokens(self) -> bool:
        return isinstance(self.model, Transformer)


@dataclass
class Throughput:
    """Measures cases; remembers rates and plain loops, which several cases share."""

    section: Section
    device: torch.device
    dry: bool
    rates: dict[str, float] = field(default_factory=dict)
    plain_s: dict[tuple[int, str, str], float] = field(default_factory=dict)
    bytes_a_member: dict[str, int] = field(default_factory=dict)
    """By case, as the cohort last measured has it."""

    @property
    def round_s(self) -> float:
        return 0.002 if self.dry else ROUND_S

    def run(self) -> None:
        """The default trial first, then what differs from it in one thing."""
        for dtype in DTYPES:
            self.section.attempt(f"rate of products in {dtype}", partial(self._rate, dtype))
        self.section.attempt("rate of copies", self._copies)
        for case in cases(dry=self.dry):
            for members in case.members:
                name = f"{case.name}, K {members}"
                if self._fits(case, members):
                    self.section.attempt(name, partial(self._measure, case, members))
                else:
                    self.section.left_out.append(f"{name} (memory)")
        for case in cases(dry=self.dry)[:2]:
            for members in case.members[:: max(1, len(case.members) - 2)]:
                self.section.attempt(f"profile of {case.name}, K {members}", partial(self._profile, case, members))

    def _rate(self, dtype: str) -> None:
        rate = product_rate(DTYPES[dtype], 64 if self.dry else 8192, self.device, round_s=self.round_s)
        self.rates[dtype] = rate
        self.section.row(what=f"rate of products, {dtype}, no TF32", flops_per_s=rate)

    def _copies(self) -> None:
        self.section.row(
            what="rate of copies",
            bytes_per_s=copy_rate(1 << 12 if self.dry else 1 << 31, self.device, round_s=self.round_s),
        )

    def _measure(self, case: Case, members: int) -> None:
        release(self.device)
        held = torch.cuda.memory_allocated(self.device) if self.on_gpu else 0
        began = time.perf_counter()
        cohort = case.cohort(members, self.device)
        build_s = time.perf_counter() - began

        def step() -> None:
            cohort.advance(1)

        def measured_step() -> None:
            cohort.measure()
            cohort.advance(1)

        peak = peak_bytes(measured_step, self.device)
        peak = None if peak is None else peak - held
        self._remember(case, members, peak)
        step_s = seconds_of(step, self.device, round_s=self.round_s)
        launched_s = None
        if case in cases(dry=self.dry)[:2]:
            with unrecorded():
                launched_s = seconds_of(step, self.device, round_s=self.round_s)
        measure_s = max(0.0, seconds_of(measured_step, self.device, round_s=self.round_s) - step_s)
        looks = len(Measuring().steps(HORIZON))
        rate = self.rates.get(case.weights)
        plain_s = self._plain(case)
        self.section.row(
            what="throughput",
            p=case.p,
            model=type(case.model).__name__,
            weights=case.weights,
            loss=type(case.loss).__name__,
            loss_dtype=case.loss.dtype,
            members=members,
            trial_steps_per_s=members / step_s,
            trials_per_hour=3600 * members / (HORIZON * step_s + looks * measure_s),
            horizon_steps=HORIZON,
            step_s=step_s,
            measurement_s=measure_s,
            launched_step_s=launched_s,
            times_plain=None if plain_s is None else members * plain_s / step_s,
            times_floor=rate and step_s * rate / (members * case.trial().flops_per_step()),
            plain_step_s=plain_s,
            peak_bytes=peak,
            build_s=build_s,
        )

    def _fits(self, case: Case, members: int) -> bool:
        """Whether this number of members fits into memory, judged by what fewer took."""
        if case.name not in self.bytes_a_member:
            return True
        release(self.device)
        return members * self.bytes_a_member[case.name] <= MOST_OF_MEMORY * torch.cuda.mem_get_info(self.device)[0]

    def _remember(self, case: Case, members: int, peak: int | None) -> None:
        """Keep what a member took at the peak."""
        if peak is not None:
            self.bytes_a_member[case.name] = peak // members

    def _plain(self, case: Case) -> float | None:
        """Seconds a step of the loop that one would write first for this case; None where nobody wrote one."""
        if not isinstance(case.loss, SoftmaxCrossEntropy) or case.loss.dtype != "float32":
            return None
        key = case.p, type(case.model).__name__, case.weights
        if key not in self.plain_s:
            dtype = DTYPES[case.weights]
            if case.tokens:
                step = plain_transformer(case.trial(), str(self.device), dtype)
            else:
                step = bench_engine_step.plain_loop(case.p, str(self.device), dtype)
            self.plain_s[key] = seconds_of(step, self.device, round_s=self.round_s)
        return self.plain_s[key]

    def _profile(self, case: Case, members: int) -> None:
        """Operations a step, the share of the time in which the device works, and what takes most of it."""
        release(self.device)
        cohort = case.cohort(members, self.device)
        cohort.advance(2)
        with unrecorded():
            counts = counted(lambda: cohort.advance(1))
        step_us = 1e6 * seconds_of(lambda: cohort.advance(1), self.device, round_s=self.round_s)
        kind = torch.profiler.ProfilerActivity
        steps = 2 if self.dry else 10
        with torch.profiler.profile(activities=[kind.CPU, kind.CUDA] if self.on_gpu else [kind.CPU]) as profiler:
            cohort.advance(steps)
            wait(self.device)
        spent = {each.key: us / steps for each in profiler.key_averages() if (us := self._spent_us(each))}
        top = sorted(spent, key=lambda name: -spent[name])[:8]
        self.section.row(
            what="profile",
            case=case.name,
            members=members,
            operations=counts.operations,
            bytes=counts.bytes,
            flops=counts.flops,
            step_us=step_us,
            device_busy=sum(spent.values()) / step_us if self.on_gpu else None,
            most_us={name[:60]: spent[name] for name in top},
        )

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def _spent_us(self, event: FunctionEventAvg) -> float:
        """What a kernel took on a GPU, where the operation that launched it has the same time once more."""
        if self.on_gpu:
            return event.self_device_time_total if event.device_type == DeviceType.CUDA else 0.0
        return event.self_cpu_time_total


def cases(*, dry: bool) -> list[Case]:
    """The default trial at both sizes, then other dtypes, losses and models."""
    if dry:
        mlp, transformer = MLP(hidden=(8,)), Transformer(width=8, heads=2, feed_forward=16)
        return [
            Case(5, mlp, SoftmaxCrossEntropy(), (1, 4)),
            Case(7, mlp.replace(dtype="float64"), StableMaxCrossEntropy(), (2,)),
            Case(5, transformer, SoftmaxCrossEntropy(), (2,)),
        ]
    default = [Case(p, MLP(), SoftmaxCrossEntropy(), MEMBERS) for p in (113, 31)]
    return default + [
        Case(p, model, loss, SOME_MEMBERS)
        for model, loss in (
            (MLP(), StableMaxCrossEntropy()),
            (MLP(), SoftmaxCrossEntropy(dtype="bfloat16")),
            (MLP(), SoftmaxCrossEntropy(dtype="float16")),
            (Transformer(), SoftmaxCrossEntropy()),
            (MLP(dtype="float64"), SoftmaxCrossEntropy(dtype="float64")),
        )
        for p in (113, 31)
    ]


class _PlainTransformer(nn.Module):
    """One layer from torch's own parts, of the default transformer's size; the logits are read at the last token."""

    def __init__(self, model: Transformer, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, model.width)
        self.layer = nn.TransformerEncoderLayer(
            model.width, model.heads, model.feed_forward, dropout=0.0, batch_first=True, norm_first=True
        )
        self.unembed = nn.Linear(model.width, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.unembed(self.layer(self.embed(tokens))[:, -1])


def plain_transformer(trial: GrokkingTrial, device: str, dtype: torch.dtype) -> Callable[[], None]:
    """One step of the loop that one would write first for the transformer."""
    assert isinstance(trial.model, Transformer)
    split = trial.task.split(Seeds())
    tokens, labels = (torch.from_numpy(rows).to(device) for rows in (split.train_inputs, split.train_labels))
    network = _PlainTransformer(trial.model, trial.task.features, trial.task.classes).to(device, dtype)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=1.0)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(tokens), labels).backward()
        optimizer.step()

    return step


def release(device: torch.device) -> None:
    """Give back the memory of what was dropped."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def run(section: Section, device: torch.device, *, dry: bool) -> None:
    """Measure all cases, as far as the time allows."""
    Throughput(section, device, dry).run()
