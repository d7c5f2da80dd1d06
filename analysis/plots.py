"""The phase diagram as a picture made to be shown: a row of cells over time, or a grid of cells.

Colours are from the Okabe-Ito palette and differ in lightness too: blues generalise, orange only memorises, grey
does neither.  Nothing here computes a statistic.
"""

import math
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.cells import UNFINISHED, Cell, Diagram, PlacedTrial
from analysis.load import MISSING
from analysis.tables import contrast_text
from trainables.engine.outcome import (
    CENSORED,
    COMPREHENSION,
    CONFUSION,
    DIVERGED,
    EVENT,
    FROZEN,
    GROKKING,
    MEMORIZATION,
    TEST_ONLY,
    Event,
)

PHASE_COLOURS = {
    COMPREHENSION: "#005b8e",
    GROKKING: "#56b4e9",
    TEST_ONLY: "#cc79a7",
    MEMORIZATION: "#e69f00",
    CONFUSION: "#b3b3b3",
    UNFINISHED: "#ffffff",
    MISSING: "#ffffff",
}
"""From the bottom of a bar upwards; every picture and page of the analysis uses them."""
MEM_COLOUR, GEN_COLOUR, MEAN_COLOUR, DIVERGED_COLOUR = "#e69f00", "#0072b2", "#111111", "#d55e00"
ENDINGS = {CENSORED: "", FROZEN: "////", DIVERGED: "xxxx"}
"""Hatches of the trials that a competing event ended; the plain ones first."""

INK, FAINT, GRID = "#222222", "#6b6b6b", "#e6e6e6"
DPI = 200
FEW_SEEDS = 12
"""Up to so many trials a cell their bars are drawn wide."""


def draw_png(diagram: Diagram, path: Path) -> None:
    """Write the picture of a diagram as a PNG file."""
    figure = Figure(dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A sign that the font lacks is drawn as a box; that is no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if diagram.y is None:
            _draw_row(figure, diagram)
        else:
            _draw_grid(figure, diagram)
        figure.savefig(path, metadata={"Software": None})


def phase_words(phase: str) -> str:
    """A phase as legends say it: memorization is never more than "not by tau"."""
    return {MEMORIZATION: "memorization (not by τ)", MISSING: "not begun", UNFINISHED: "unfinished"}.get(phase, phase)


def segments(cell: Cell) -> list[tuple[str, str, int]]:
    """The parts of a cell's bar from the bottom upwards: phase, how its trials ended, and their number."""

    def ending(placed: PlacedTrial) -> str:
        return placed.t_gen.kind if placed.t_gen is not None and placed.t_gen.kind in (FROZEN, DIVERGED) else CENSORED

    found = []
    for phase in PHASE_COLOURS:
        members = [ending(placed) for placed in cell.trials if placed.phase == phase]
        found += [(phase, kind, members.count(kind)) for kind in ENDINGS if kind in members]
    return found


# --- a row of cells over time -------------------------------------------------------------------------------------


def _draw_row(figure: Figure, diagram: Diagram) -> None:
    count = len(diagram.x.ticks)
    width = min(max(8.6, 3.6 + 0.98 * count), 24.0)
    height = 7.3
    figure.set_size_inches(width, height)
    notes = _notes(diagram, int(width * 14.2))
    left, right, top = 0.78 / width, 1 - 2.28 / width, 1 - 1.02 / height
    bottom = (1.02 + 0.155 * len(notes)) / height
    upper, lower = figure.subplots(
        2,
        1,
        sharex=True,
        gridspec_kw={
            "height_ratios": (2.7, 1),
            "hspace": 0.07,
            "left": left,
            "right": right,
            "top": top,
            "bottom": bottom,
        },
    )
    _head(figure, diagram, left)
    for axes in (upper, lower):
        _plain(axes)
        for index in range(0, count, 2):
            axes.axvspan(index - 0.5, index + 0.5, color="#f6f7f9", zorder=0, lw=0)
        axes.set_xlim(-0.5, count - 0.5)
    _draw_times(upper, diagram)
    _draw_shares(lower, diagram)
    _category_labels(lower, diagram)
    figure.text(left, 0.13 / height, "\n".join(notes), fontsize=8, color=FAINT, va="bottom", linespacing=1.35)


def _draw_times(axes: Axes, diagram: Diagram) -> None:
    tau = diagram.tau_steps
    events = [
        event
        for cell in diagram.cells
        for placed in cell.trials
        for event in (placed.t_mem, placed.t_gen)
        if event is not None
    ]
    seen = [event.high_steps for event in events if event.kind != CENSORED]
    logarithmic = bool(seen) and tau / max(min(seen), 1) >= 15
    if logarithmic:
        axes.set_yscale("log")
        floor, ceiling, beyond = max(min(seen) * 0.72, 0.7), tau * 1.42, tau * 1.19
        axes.yaxis.set_major_locator(FixedLocator(_round_steps(floor, tau)))
    else:
        floor, ceiling, beyond = 0.0, tau * 1.13, tau * 1.065
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(floor, ceiling)
    axes.axhspan(tau, ceiling, color="#ececec", zorder=0.5, lw=0)
    axes.axhline(tau, color=FAINT, lw=0.9, ls=(0, (4, 3)), zorder=1.5)
    axes.text(-0.47, beyond, "not by τ", fontsize=8, color=FAINT, va="center", ha="left")
    axes.grid(axis="y", color=GRID, lw=0.8, zorder=0.8)
    axes.set_ylabel(f"steps{' (log scale)' if logarithmic else ''}", fontsize=10.5, color=INK)
    for cell in diagram.cells:
        lanes = np.linspace(-0.3, 0.1, max(len(cell.trials), 2)) if len(cell.trials) > 1 else np.array([-0.1])
        bar = 5.0 if len(cell.trials) <= FEW_SEEDS else 2.0
        for lane, placed in zip(cell.x + lanes, cell.trials, strict=False):
            if placed.t_mem is not None and placed.t_gen is not None:
                _draw_trial(axes, lane, placed.t_mem, placed.t_gen, floor, beyond, bar)
        mean = cell.t_gen.restricted_mean_steps
        if not math.isnan(mean.value):
            place = cell.x + 0.29
            if not math.isnan(mean.low):
                axes.plot([place, place], [mean.low, mean.high], color=MEAN_COLOUR, lw=2.2, zorder=5)
            axes.plot([place], [mean.value], marker="D", ms=7, color=MEAN_COLOUR, mec="white", mew=1.0, zorder=6)
            below = (0, -9) if math.isnan(mean.low) else (0, -5)
            axes.annotate(
                f"{mean.value:.0f}",
                (place, mean.value if math.isnan(mean.low) else mean.low),
                xytext=below,
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=9,
                fontweight="bold",
                color=INK,
                zorder=6,
            )
    handles = [
        Line2D([], [], color=GEN_COLOUR, lw=5, solid_capstyle="butt", label=_threshold("test", diagram)),
        Line2D([], [], color=MEM_COLOUR, lw=5, solid_capstyle="butt", label=_threshold("training", diagram)),
        Line2D([], [], color="#bdbdbd", lw=1.2, label="a seed's delay"),
        Line2D([], [], marker="^", ls="", ms=6.5, mfc="white", mec=GEN_COLOUR, mew=1.3, label="no event by τ"),
    ]
    kinds = {event.kind for event in events}
    if FROZEN in kinds:
        handles.append(_frozen_handle())
    if DIVERGED in kinds:
        handles.append(Line2D([], [], marker="X", ls="", ms=7, color=DIVERGED_COLOUR, mec="white", label="diverged"))
    handles.append(
        Line2D(
            [], [], marker="D", ms=7, color=MEAN_COLOUR, mec="white", lw=2.2, label="RMST(τ) of t_gen,\n95 % interval"
        )
    )
    _legend(axes, handles, "Time to each event")


def _draw_trial(axes: Axes, x: float, mem: Event, gen: Event, floor: float, beyond: float, width: float) -> None:
    """One seed as a stem: from memorising up to generalising, or to why that did not come."""
    top = beyond if gen.kind == CENSORED and not math.isfinite(gen.high_steps) else gen.high_steps
    if mem.kind == EVENT:
        axes.plot([x, x], [mem.high_steps, top], color="#bdbdbd", lw=1.1, zorder=2, solid_capstyle="butt")
    for event, colour in ((mem, MEM_COLOUR), (gen, GEN_COLOUR)):
        if event.kind == EVENT:
            low, high = max(event.low_steps, floor), event.high_steps
            axes.plot([x, x], [low, high], color=colour, lw=width, zorder=3, solid_capstyle="butt")
    if mem.kind == CENSORED and gen.kind == CENSORED:
        axes.plot([x], [beyond], marker="^", ms=6.5, mfc="white", mec=MEM_COLOUR, mew=1.3, zorder=4)
        axes.plot([x], [beyond], marker="^", ms=3.2, color=GEN_COLOUR, mec="none", zorder=4)
    elif gen.kind == CENSORED:
        axes.plot([x], [beyond], marker="^", ms=6.5, mfc="white", mec=GEN_COLOUR, mew=1.3, zorder=4)
    elif gen.kind == FROZEN:
        axes.plot([x], [gen.high_steps], marker=(6, 2, 0), ms=8, color=GEN_COLOUR, mew=1.4, zorder=4)
    elif gen.kind == DIVERGED:
        axes.plot([x], [gen.high_steps], marker="X", ms=7, color=DIVERGED_COLOUR, mec="white", mew=0.7, zorder=4)


def _frozen_handle() -> Line2D:
    return Line2D([], [], marker=(6, 2, 0), ls="", ms=8, color=GEN_COLOUR, mew=1.4, label="frozen: never again")


def _threshold(name: str, diagram: Diagram) -> str:
    if name == "test":
        return f"t_gen: test accuracy ≥ {diagram.frame.test_threshold:g}"
    return f"t_mem: training ≥ {diagram.frame.train_threshold:g}"


def _draw_shares(axes: Axes, diagram: Diagram) -> None:
    used: dict[tuple[str, str], None] = {}
    for cell in diagram.cells:
        base = 0.0
        for phase, ending, number in segments(cell):
            share = number / len(cell.trials)
            blank = phase in (UNFINISHED, MISSING)
            axes.bar(
                cell.x - 0.1,
                share,
                bottom=base,
                width=0.46,
                color=PHASE_COLOURS[phase],
                edgecolor="#9a9a9a" if blank else "white",
                hatch=ENDINGS[ending],
                linewidth=0.8,
                linestyle=":" if phase == MISSING else "-",
                zorder=3,
            )
            dark = sum(to_rgb(PHASE_COLOURS[phase])) < 1.4
            axes.text(
                cell.x - 0.1,
                base + share / 2,
                str(number),
                ha="center",
                va="center",
                fontsize=8.5,
                color="white" if dark else INK,
                zorder=4,
                bbox=None if not ENDINGS[ending] else {"fc": PHASE_COLOURS[phase], "ec": "none", "pad": 1.2},
            )
            base += share
            used[phase, ending] = None
        share = cell.t_gen.by_tau
        if not math.isnan(share.value):
            place = cell.x + 0.29
            if not math.isnan(share.low):
                axes.plot([place, place], [share.low, share.high], color=MEAN_COLOUR, lw=2.2, zorder=4)
            axes.plot([place], [share.value], marker="o", ms=5.5, color=MEAN_COLOUR, mec="white", mew=0.8, zorder=5)
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.5, 1], ["0", "½", "1"])
    axes.grid(axis="y", color=GRID, lw=0.8, zorder=0.8)
    axes.set_ylabel("share of seeds", fontsize=10.5, color=INK)
    handles: list[Patch | Line2D] = [
        Patch(fc=colour, ec="#9a9a9a" if colour == "#ffffff" else "white", label=phase_words(phase))
        for phase, colour in reversed(PHASE_COLOURS.items())
        if any(phase == found for found, _ in used)
    ]
    handles += [
        Patch(fc="#d9d9d9", ec="white", hatch=ENDINGS[kind], label=f"… {kind}")
        for kind in (FROZEN, DIVERGED)
        if any(kind == found for _, found in used)
    ]
    handles.append(
        Line2D([], [], marker="o", ms=5.5, color=MEAN_COLOUR, mec="white", lw=2.2, label="P(t_gen ≤ τ), 95 %")
    )
    _legend(axes, handles, "Phase by τ")


def _category_labels(axes: Axes, diagram: Diagram) -> None:
    counts = {cell.x: len(cell.trials) - cell.count(MISSING) for cell in diagram.cells}
    uneven = len(set(counts.values())) > 1
    ticks = [
        f"{_safe(tick)}\nn = {counts[index]}" if uneven else _safe(tick) for index, tick in enumerate(diagram.x.ticks)
    ]
    long = max(len(tick) for tick in diagram.x.ticks) > 14
    axes.set_xticks(range(len(ticks)), ticks, fontsize=10.5 if not long else 8.5, rotation=25 if long else 0, color=INK)
    if not diagram.x.groups:
        axes.set_xlabel(_safe(diagram.x.label), fontsize=10.5, color=INK, labelpad=5)
        return
    start = 0
    depth = -0.235 - 0.1 * uneven - 0.2 * long
    transform = axes.get_xaxis_transform()
    for index, group in enumerate(diagram.x.groups):
        if index + 1 < len(diagram.x.groups) and diagram.x.groups[index + 1] == group and group:
            continue
        if group:
            axes.plot(
                [start - 0.36, index + 0.36], [depth, depth], color=FAINT, lw=1, clip_on=False, transform=transform
            )
            axes.text(
                (start + index) / 2,
                depth - 0.05,
                _safe(group),
                ha="center",
                va="top",
                fontsize=10.5,
                color=INK,
                transform=transform,
            )
        start = index + 1


# --- a grid of cells ----------------------------------------------------------------------------------------------


def _draw_grid(figure: Figure, diagram: Diagram) -> None:
    assert diagram.y is not None
    columns, rows = len(diagram.x.ticks), len(diagram.y.ticks)
    side, tall = (1.16, 0.92) if columns * rows <= 150 else (0.7, 0.5)
    label_room = 0.55 + 0.082 * max(len(tick) for tick in diagram.y.ticks)
    width = max(8.6, label_room + side * columns + 2.6)
    notes = _notes(diagram, int(width * 14.2))
    height = 1.05 + tall * rows + 0.95 + 0.155 * len(notes)
    figure.set_size_inches(width, height)
    bottom = (0.85 + 0.155 * len(notes)) / height
    left, right = label_room / width, 1 - 2.5 / width
    axes = figure.add_axes((left, bottom, right - left, tall * rows / height))
    _head(figure, diagram, 0.28 / width)
    means = [cell.t_gen.restricted_mean_steps.value for cell in diagram.cells]
    known = [mean for mean in means if not math.isnan(mean)]
    low = min(known, default=1.0)
    high = float(diagram.tau_steps)
    norm: Normalize = (
        LogNorm(max(low, 1.0), high) if high / max(low, 1.0) >= 8 else Normalize(min(low, high * 0.9), high)
    )
    mappable = ScalarMappable(norm, "cividis_r")
    axes.add_patch(Rectangle((-0.5, -0.5), columns, rows, fc="white", ec="#cfcfcf", hatch="////", lw=0, zorder=0))
    for cell in diagram.cells:
        _draw_tile(axes, cell, mappable, detailed=columns * rows <= 150)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-0.5, rows - 0.5)
    axes.set_xticks(range(columns), [_safe(tick) for tick in diagram.x.ticks], fontsize=10, color=INK)
    if max(len(tick) for tick in diagram.x.ticks) > 9:
        for text in axes.get_xticklabels():
            text.set(rotation=25, ha="right")
    axes.set_yticks(range(rows), [_safe(tick) for tick in diagram.y.ticks], fontsize=10, color=INK)
    axes.set_xlabel(_safe(diagram.x.label), fontsize=11, color=INK)
    axes.set_ylabel(_safe(diagram.y.label), fontsize=11, color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    scale = figure.add_axes((1 - 2.25 / width, bottom + 0.02, 0.16 / width, min(1.7, tall * rows * 0.55) / height))
    bar = figure.colorbar(mappable, cax=scale)
    bar.set_label("RMST(τ) of t_gen, steps", fontsize=9, color=INK)
    bar.outline.set_visible(False)  # type: ignore[operator]
    ticks = _round_steps(norm.vmin or 1.0, high) if isinstance(norm, LogNorm) else np.linspace(norm.vmin or 0, high, 4)
    bar.set_ticks(list(ticks), labels=[f"{tick:.0f}" for tick in ticks], fontsize=8.5)
    bar.ax.minorticks_off()
    used = {phase for cell in diagram.cells for phase, _, _ in segments(cell)}
    endings = {ending for cell in diagram.cells for _, ending, _ in segments(cell)}
    handles = [
        Patch(fc=colour, ec="#9a9a9a" if colour == "#ffffff" else "white", label=phase_words(phase))
        for phase, colour in reversed(PHASE_COLOURS.items())
        if phase in used
    ]
    handles += [
        Patch(fc="#d9d9d9", ec="white", hatch=ENDINGS[kind], label=f"… {kind}")
        for kind in (FROZEN, DIVERGED)
        if kind in endings
    ]
    if len(diagram.cells) < columns * rows:
        handles.append(Patch(fc="white", ec="#cfcfcf", hatch="////", label="not in the sweep"))
    legend = figure.legend(
        handles=handles,
        title="Phase by τ (bar)",
        loc="upper left",
        bbox_to_anchor=(1 - 2.36 / width, bottom + tall * rows / height + 0.01),
        fontsize=8.5,
        title_fontproperties={"weight": "bold", "size": 9},
        frameon=False,
        alignment="left",
        borderaxespad=0,
    )
    legend.set_zorder(5)
    figure.text(0.28 / width, 0.13 / height, "\n".join(notes), fontsize=8, color=FAINT, va="bottom", linespacing=1.35)


def _draw_tile(axes: Axes, cell: Cell, mappable: ScalarMappable, *, detailed: bool) -> None:
    mean, share = cell.t_gen.restricted_mean_steps, cell.t_gen.by_tau
    known = not math.isnan(mean.value)
    colour = to_rgb(mappable.to_rgba(mean.value)) if known else to_rgb("#f2f2f2")  # type: ignore[arg-type]
    axes.add_patch(Rectangle((cell.x - 0.48, cell.y - 0.47), 0.96, 0.94, fc=colour, ec="none", zorder=2))
    ink = "white" if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 0.5 else INK
    if detailed:
        text = f"{mean.value:.0f}" if known else "unfinished"
        axes.text(cell.x, cell.y + 0.25, text, ha="center", va="center", fontsize=11 if known else 8.5,
                  fontweight="bold", color=ink, zorder=3)  # fmt: skip
        if known:
            reached = f"P {share.value:.2f}" + (
                f" [{share.low:.2f}, {share.high:.2f}]" if not math.isnan(share.low) else ""
            )
            axes.text(cell.x, cell.y - 0.02, reached, ha="center", va="center", fontsize=7, color=ink, zorder=3)
    left, total = cell.x - 0.42, len(cell.trials)
    for phase, ending, number in segments(cell):
        part = 0.84 * number / total
        axes.add_patch(
            Rectangle((left, cell.y - 0.39), part, 0.2, fc=PHASE_COLOURS[phase],
                      ec="#9a9a9a" if phase in (UNFINISHED, MISSING) else "white", hatch=ENDINGS[ending], lw=0.8,
                      zorder=3)
        )  # fmt: skip
        if detailed:
            dark = sum(to_rgb(PHASE_COLOURS[phase])) < 1.4
            axes.text(left + part / 2, cell.y - 0.295, str(number), ha="center", va="center", fontsize=7,
                      color="white" if dark else INK, zorder=4)  # fmt: skip
        left += part


# --- common to both -----------------------------------------------------------------------------------------------


def _head(figure: Figure, diagram: Diagram, left: float) -> None:
    width, height = figure.get_size_inches()
    title = textwrap.shorten(diagram.title, 220, placeholder=" …")
    room = (1 - left) * width * 72
    size = min(16.0, max(9.0, room / (0.56 * max(len(title), 1))))
    figure.text(left, 1 - 0.2 / height, _safe(title), fontsize=size, fontweight="bold", color=INK, va="top")
    figure.text(left, 1 - 0.55 / height, _safe(diagram.subtitle), fontsize=10.5, color=FAINT, va="top")


def _notes(diagram: Diagram, columns: int) -> list[str]:
    """What the reader has to know, wrapped to the picture's width."""
    estimators = {cell.t_gen.estimator for cell in diagram.cells} - {"none"}
    ends = "upper ends of the intervals, " if "Aalen-Johansen" in estimators else ""
    texts = [
        "A bar is the interval (L, R] that holds the event.  RMST(τ) = ∫₀^τ (1 − CIF): a seed that does not get there "
        f"counts τ, whatever kept it.  CIF: {' and '.join(sorted(estimators)) or 'not known yet'}, {ends}"
        "intervals: bootstrap over seeds for RMST, Wilson for shares."
        if diagram.y is None
        else "A cell: RMST(τ) = ∫₀^τ (1 − CIF) of t_gen, in which a seed that does not get there counts τ; P(t_gen ≤ τ) "
        "with its 95 % interval; the bar counts the seeds in each phase."
    ]
    texts += [contrast_text(found, diagram.tau_steps) + "." for found in diagram.contrasts if found.declared]
    return [_safe(line) for text in texts for line in textwrap.wrap(text, columns)]


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9a9a9a")
    axes.tick_params(axis="x", length=0)
    axes.tick_params(axis="y", color="#9a9a9a", labelcolor=INK, labelsize=9.5)


def _legend(axes: Axes, handles: Sequence[Patch | Line2D], title: str) -> None:
    axes.legend(
        handles=handles,
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.012, 1.03),
        fontsize=8.5,
        title_fontproperties={"weight": "bold", "size": 9.5},
        frameon=False,
        alignment="left",
        labelspacing=0.5,
        handlelength=1.5,
        borderaxespad=0,
    )


def _round_steps(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20, ... between two numbers; the upper one itself too."""
    found = [
        digit * 10.0**power for power in range(-1, 12) for digit in (1, 2, 5) if low <= digit * 10.0**power < 0.8 * high
    ]
    return [*found, high]


def _safe(text: str) -> str:
    """A text without what matplotlib would read as mathematics."""
    return text.replace("$", r"\$")
