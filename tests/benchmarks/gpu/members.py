"""Members of cohorts on the device beside solo trials in float64 on the CPU: every component, every dtype of the loss.

In float64 a member must follow the reference for :data:`STEPS` steps, within the tolerance that the engine states.
In other dtypes long paths part by rounding (near-cancelling gradients under Adam), so one step of SGD is compared
there: the error of the displacement relative to its norm, within a few units of the coarser of the two dtypes.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks.gpu.report import Section
from tests.support.components import FIELD_OF, configs_of, small_trial, varied
from tests.support.fake_mnist import write_mnist
from trainables.engine.config import Config
from trainables.engine.encodings import Tokens
from trainables.engine.interventions import Intervention
from trainables.engine.losses import DTYPES, Loss
from trainables.engine.models import MLP, Model
from trainables.engine.optimizers import SGD, Optimizer
from trainables.engine.tasks import ModularAddition
from trainables.engine.transformer import Transformer
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

ROOMS = ("trainables.engine", "trainables.data", "trainables.neighbours")
STEPS = 10
"""Past the step at which an example's intervention sets in."""
IN_FLOAT64 = 1e-8
"""Of weights, relative to the larger of the weight and :data:`SMALL`, after :data:`STEPS` steps."""
OF_COLUMNS = 1e-7
"""Of measured columns likewise; a probe may subtract what nearly cancels."""
SMALL = 1e-2
OF_A_STEP = {"float64": 1e-8, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""By the coarser dtype of model and loss: the error of one SGD step's displacement, relative to its norm."""


def components() -> list[type[Config]]:
    """Every component of a full-batch trial, found by walking the rooms that define them."""
    found = [cls for room in ROOMS for cls in configs_of(room)]
    return [cls for cls in found if issubclass(cls, tuple(FIELD_OF))]


def run(section: Section, device: torch.device, *, dry: bool) -> None:
    """Compare every component, then every loss in every dtype, then the default models at their size."""
    before = os.environ.get("GROKSCAPE_DATA")
    with tempfile.TemporaryDirectory() as folder:
        write_mnist(Path(folder))
        os.environ["GROKSCAPE_DATA"] = folder
        try:
            for cls in components():
                section.attempt(cls.__name__, partial(follows, section, cls, device))
        finally:
            os.environ.pop("GROKSCAPE_DATA")
            if before is not None:
                os.environ["GROKSCAPE_DATA"] = before
    for loss in (cls for cls in components() if issubclass(cls, Loss)):
        for weights in ("float32", "float64"):
            for dtype in DTYPES:
                trial = one_step(MLP(hidden=(16,), dtype=weights), loss.example().replace(dtype=dtype), p=7)
                name = f"{loss.__name__} in {dtype}, weights in {weights}"
                section.attempt(name, partial(steps_alike, section, name, trial, device))
    p = 7 if dry else 113
    models: list[Model] = [MLP(), MLP(dtype="float64"), Transformer(), Transformer(dtype="float64")]
    for model in models:
        trial = one_step(model, p=p)
        name = f"default {type(model).__name__} in {model.dtype}, p = {p}"  # type: ignore[attr-defined]
        section.attempt(name, partial(steps_alike, section, name, trial, device))


def one_step(model: Model, loss: Loss | None = None, *, p: int) -> GrokkingTrial:
    """A trial whose first step is comparable in any dtype: plain gradient descent."""
    task = ModularAddition(p=p, train_fraction=0.6)
    if isinstance(model, Transformer):
        task = task.replace(inputs=Tokens())
    settings = {} if loss is None else {"loss": loss}
    return GrokkingTrial(task=task, model=model, optimizer=SGD(learning_rate=1.0), horizon_steps=STEPS, **settings)


def in_float64(config: Config) -> Config:
    """The configuration with every dtype in it float64."""
    changes: dict[str, object] = {}
    for name in config.__dataclass_fields__:
        value = getattr(config, name)
        if name == "dtype":
            changes[name] = "float64"
        elif isinstance(value, Config):
            changes[name] = in_float64(value)
    return config.replace(**changes)


def deviation(values: np.ndarray, reference: np.ndarray) -> float:
    """The largest difference, relative to the larger of the reference and :data:`SMALL`; unequal NaNs are infinite."""
    if not np.array_equal(np.isnan(values), np.isnan(reference)):
        return float("inf")
    different = (values != reference) & ~np.isnan(reference)
    values, reference = values[different], reference[different]
    size = np.where(np.isfinite(reference), np.maximum(np.abs(reference), SMALL), 1.0)
    return float((np.abs(values - reference) / size).max(initial=0.0))


def worst(pairs: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> tuple[float, str]:
    """The largest deviation over named arrays, and where it is."""
    return max(((deviation(values, reference), name) for name, values, reference in pairs), default=(0.0, ""))


def follows(section: Section, cls: type[Config], device: torch.device) -> None:
    """Check that members of a cohort with this component follow their references: weights and measurements."""
    # Adam's updates do not depend on the scale of a gradient: SGD's show it.
    keeps_its_own = issubclass(cls, Optimizer | Intervention)
    changes = {} if keeps_its_own else {"optimizer": SGD(learning_rate=0.1, momentum=0.9)}
    base = in_float64(small_trial(cls.example(), horizon_steps=STEPS, **changes))
    assert isinstance(base, GrokkingTrial)
    trials = varied(base, 3)
    cohort = base.build(trials, str(device))
    cohort.advance(STEPS)
    columns = cohort.measure()
    weights, measured = [], []
    for member, trial in enumerate(trials):
        solo = trial.build([trial], "cpu")
        solo.advance(STEPS)
        weights.append(worst(_paired(cohort.snapshot(member), solo.snapshot(0))))
        alone = solo.measure()
        pairs = ((column, values[[member]], alone[column]) for column, values in columns.items())
        measured.append(worst(pairs))
    (of_weights, _), (of_columns, column) = max(weights), max(measured)
    section.check(
        cls.__name__,
        of_weights <= IN_FLOAT64 and of_columns <= OF_COLUMNS,
        weights=of_weights,
        columns=of_columns,
        worst_column=column,
        replayed=cohort.replays,
    )


def _paired(
    values: dict[str, np.ndarray], reference: dict[str, np.ndarray]
) -> Iterable[tuple[str, np.ndarray, np.ndarray]]:
    return ((name, values[name], reference[name]) for name in reference)


def steps_alike(section: Section, name: str, trial: GrokkingTrial, device: torch.device) -> None:
    """Check that the first step moves every member as it moves the reference."""
    trials = [trial.replace(seeds=Seeds.all(seed)) for seed in range(3)]
    cohort = trial.build(trials, str(device))
    moves: list[Callable[[], np.ndarray]] = [partial(_flat, cohort.snapshot, member) for member in range(3)]
    errors = [
        _relative(move, reference)
        for move, reference in zip(_displacements(cohort.advance, moves), map(_reference, trials), strict=True)
    ]
    dtypes = (trial.loss.dtype, trial.model.dtype)  # type: ignore[attr-defined]
    tolerance = max(OF_A_STEP[dtype] for dtype in dtypes)
    section.check(name, max(errors) <= tolerance, of_a_step=max(errors), tolerance=tolerance)


def _reference(trial: GrokkingTrial) -> np.ndarray:
    wide = in_float64(trial)
    assert isinstance(wide, GrokkingTrial)
    solo = wide.build([wide], "cpu")
    return _displacements(solo.advance, [partial(_flat, solo.snapshot, 0)])[0]


def _displacements(advance: Callable[[int], None], positions: Sequence[Callable[[], np.ndarray]]) -> list[np.ndarray]:
    """How far one step moves each member."""
    before = [position() for position in positions]
    advance(1)
    return [position() - start for position, start in zip(positions, before, strict=True)]


def _flat(snapshot: Callable[[int], dict[str, np.ndarray]], member: int) -> np.ndarray:
    return np.concatenate([value.ravel().astype(np.float64) for value in snapshot(member).values()])


def _relative(move: np.ndarray, reference: np.ndarray) -> float:
    error = float(np.linalg.norm(move - reference) / np.linalg.norm(reference))
    return error if np.isfinite(error) else float("inf")
