"""Every figure names a space that exists and columns that it measures, can be judged, and can be drawn.

Found without being listed, as the search spaces of the paper are: each of them feeds a figure.
"""

import re
from functools import cache
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.data.kept import KEPT, read_kept
from analysis.data.sweep import FULL, SIZES, Sweep
from analysis.paper.figure import PAPER, FigureSpec, find_figures
from analysis.paper.page import page
from analysis.paper.picture import png
from analysis.paper.results import FigureResult, markdown, results
from analysis.paper.verdict import MET, NOT_RUN, STATUSES
from pipeline.spec.space_file import load_space
from tests.support.synthetic_evidence import SPACES, made_up, planned, space_path
from trainables.grokking import GrokkingTrial

ROOT = Path(__file__).resolve().parents[2]
FIGURES = find_figures()
TRAINED = [figure for figure in FIGURES.values() if figure.check is None]
CHECKED = [figure for figure in FIGURES.values() if figure.check is not None]
KEPT_BYTES = 120_000

each_figure = pytest.mark.parametrize("figure", FIGURES.values(), ids=[*FIGURES])
each_trained = pytest.mark.parametrize("figure", TRAINED, ids=[figure.name for figure in TRAINED])
each_checked = pytest.mark.parametrize("figure", CHECKED, ids=[figure.name for figure in CHECKED])


@cache
def kept_results() -> list[FigureResult]:
    return results()


@each_figure
def test_label_and_statement(figure: FigureSpec) -> None:
    assert FIGURES[figure.name] is figure, "its name is its module's"
    assert figure.title
    assert figure.statement.endswith(".")
    assert figure.room != PAPER or re.match(r"((Fig|Prop|App)\.|Table) \S", figure.label)
    assert bool(figure.spaces) != (figure.check is not None), "a space, or a check that needs no training"
    assert "$" not in figure.title + figure.statement


@each_figure
def test_not_run(figure: FigureSpec) -> None:
    for size in figure.sizes:
        assert figure.judged(Sweep(size=size)).status == NOT_RUN


@each_trained
def test_sizes_of_its_space(figure: FigureSpec) -> None:
    for space in figure.spaces:
        assert [*SPACES.rglob(f"{space}.py")], f"search_spaces has no {space}.py"
        for size in SIZES if figure.sized else (None,):
            assert load_space(space_path(space), size).size == size


@each_trained
def test_its_columns_are_measured(figure: FigureSpec) -> None:
    """Each by some trial of each of its sizes; a laptop's smaller p has fewer frequencies."""
    for size in figure.sizes:
        measured: set[str] = set()
        for config in {trial.config.cohort_key: trial.config for _, trial in planned(figure, size)}.values():
            shapes = {}  # of mini-batch trials no figure looks at single tensors
            if isinstance(config, GrokkingTrial):
                shapes = {name: tuple(value.shape) for name, value in config.model.init(config.task, 0).items()}
            measured |= set(config.columns(shapes))
        missing = set(figure.columns) - measured
        assert not [column for column in missing if size == FULL or ".power_" not in column]
    assert len(set(figure.columns)) == len(figure.columns)


@each_trained
@pytest.mark.parametrize(
    ("until", "seeds"), [(1.0, None), (0.1, None), (1.0, 1), (0.001, 2)], ids=["whole", "a tenth", "1 seed", "start"]
)
def test_judged_and_drawn(figure: FigureSpec, until: float, seeds: int | None) -> None:
    for size in figure.sizes:
        evidence = made_up(figure, size, until=until, seeds=seeds)
        verdict = figure.judged(evidence)
        assert verdict.status in STATUSES
        assert verdict.claims
        assert all(isinstance(held, bool | None) for claim in verdict.claims for held in claim.holds)
        assert len({claim.text for claim in verdict.claims}) == len(verdict.claims)
        assert all("nan" not in claim.numbers for claim in verdict.claims)
        if seeds in (1, 2):
            assert verdict.status not in ("met", "not met"), "too few seeds"
        drawn(figure, evidence)


@each_trained
def test_each_trial_alone(figure: FigureSpec) -> None:
    """The first of every setting: whatever is missing beside it."""
    whole = made_up(figure, figure.sizes[-1])
    firsts = {str(trial.setting): trial for trial in reversed(whole.trials)}
    for first in [*firsts.values()][:6]:
        blank = made_up(figure, figure.sizes[-1], seeds=0).trials
        trials = tuple(first if trial.trial_id == first.trial_id else trial for trial in blank)
        evidence = Sweep(size=whole.size, trials=trials)
        assert figure.judged(evidence).status not in ("met", "not met"), "one seed"
        drawn(figure, evidence)


def drawn(figure: FigureSpec, evidence: Sweep) -> None:
    canvas = Figure(figsize=figure.size_in)
    FigureCanvasAgg(canvas)
    panels = canvas.subfigures()
    figure.draw(evidence, panels)
    assert panels.axes


@each_trained
def test_picture(figure: FigureSpec) -> None:
    evidence = made_up(figure, figure.sizes[-1])
    shown = FigureResult(figure, {evidence.size: evidence}, {evidence.size: figure.judged(evidence)})
    assert png(shown, evidence.size).startswith(b"\x89PNG")


@each_checked
def test_checks_are_met(figure: FigureSpec) -> None:
    assert figure.check is not None
    verdict = figure.judged(figure.check())
    assert verdict.status == MET, verdict.reason
    kept = read_kept(figure.name)
    assert kept is not None, "its evidence is kept"
    assert figure.judged(kept).status == MET
    drawn(figure, kept)


def test_every_space_has_a_figure() -> None:
    used = {space for figure in FIGURES.values() for space in figure.spaces}
    there = {path.stem for path in (SPACES / "paper").glob("*.py") if path.name != "__init__.py"}
    assert there <= used


def test_kept_files() -> None:
    names = {name for figure in FIGURES.values() for size in figure.sizes for name in figure.files(size)}
    files = [*KEPT.glob("*")]
    assert {path.stem for path in files if path.suffix == ".parquet"} <= names
    assert not [path.name for path in files if path.suffix != ".parquet" or path.stat().st_size > KEPT_BYTES]


def test_kept_trials_are_those_of_the_spaces() -> None:
    """A space that was changed after its run is told by this: what is kept is of other trials."""
    for figure in TRAINED:
        for size in figure.sizes:
            kept = {space: read_kept(name) for space, name in zip(figure.spaces, figure.files(size), strict=True)}
            for space, evidence in kept.items():
                if evidence is None:
                    continue
                now = {trial.config.trial_id for of, trial in planned(figure, size) if of == space}
                assert {trial.trial_id for trial in evidence.trials} <= now, f"{figure.name}, {size}: run it again"
                curves = {column for trial in evidence.trials if trial.begun for column in trial.curves}
                assert set(figure.columns) <= curves, f"{figure.name}, {size}: keep it again, with every column"


def test_page() -> None:
    text = page(kept_results())
    for figure in FIGURES.values():
        assert f'<article id="{figure.name}">' in text
        assert f'href="#{figure.name}"' in text
    assert "<img" in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)


def test_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- verdicts -->\n(.*?)<!-- end of verdicts -->", readme, flags=re.DOTALL)
    assert found, "README.md lacks the markers of the table of verdicts"
    assert found[1].strip() == markdown(kept_results()).strip(), "python -m analysis.figures --markdown"


def test_sizes_are_the_pipelines() -> None:
    from pipeline.spec.space_file import SIZES as SIZES_OF_SPACES

    assert set(SIZES) == set(SIZES_OF_SPACES)
    assert SIZES[0] == FULL
