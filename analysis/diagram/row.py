"""A row of cells over time: every seed's two events as intervals, the restricted mean, and the phases below."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.data.sweep import MISSING
from analysis.diagram.cells import Cell, Diagram
from analysis.drawing import style
from analysis.drawing.style import DIVERGED_COLOUR, FAINT, GEN_COLOUR, GRID, INK, MEAN_COLOUR, MEM_COLOUR, STEM
from analysis.stats.survival import FOLLOW_UP
from trainables.engine.events import CENSORED, DIVERGED, EVENT, FROZEN, Event

FEW_SEEDS = 12
"""Up to so many trials a cell their bars are drawn wide."""
SEED_LANES = (-0.36, 0.03)
SUMMARY_LANE = 0.3
"""Where in a cell of width 1 the seeds, and what they say together, are drawn."""
NOTE = (
    "A bar is the interval (L, R] that holds the event.  RMST(τ) = ∫₀^τ (1 − CIF): a seed that does not get there "
    "counts τ, whatever kept it.  CIF: {estimator}.  95 % intervals: bootstrap over seeds for RMST, Wilson for shares. "
    " Phases: by first crossings of .9."
)


def draw_row(figure: Figure, diagram: Diagram) -> None:
    """Draw a diagram without a vertical axis: time above, phases below."""
    count = len(diagram.x.ticks)
    width, height = min(max(8.6, 3.6 + 0.98 * count), 24.0), 6.9
    figure.set_size_inches(width, height)
    estimators = sorted({cell.t_gen.estimator for cell in diagram.cells} - {"none"})
    told = " and ".join(estimators) + " on the upper ends" if estimators else "not known yet"
    notes = style.note_lines(NOTE.format(estimator=told), diagram, width)
    left, footing = 0.78 / width, 0.56 + style.NOTE_LINE_IN * len(notes) + (0.24 if diagram.x.groups else 0.0)
    footing += 0.6 if _is_long(diagram) else 0.0
    shape = {"left": left, "right": 1 - 2.28 / width, "top": 1 - 0.98 / height, "bottom": footing / height}
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (2.8, 1), "hspace": 0.07} | shape)
    style.draw_head(figure, diagram.title, diagram.subtitle, left)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#9a9a9a")
        axes.tick_params(axis="x", length=0)
        axes.tick_params(axis="y", color="#9a9a9a", labelcolor=INK, labelsize=9.5)
        axes.grid(axis="y", color=GRID, lw=0.8, zorder=0.8)
        for index in range(0, count, 2):
            axes.axvspan(index - 0.5, index + 0.5, color="#f6f7f9", zorder=0, lw=0)
        axes.set_xlim(-0.5, count - 0.5)
    _draw_times(upper, diagram)
    _draw_shares(lower, diagram)
    _draw_ticks(lower, diagram)
    style.draw_notes(figure, notes, left)


def _draw_times(axes: Axes, diagram: Diagram) -> None:
    """The upper panel: each seed's events, and RMST of t_gen."""
    tau = diagram.tau_steps
    pairs = [(p.t_mem, p.t_gen) for cell in diagram.cells for p in cell.trials if p.t_mem and p.t_gen]
    ended = [event.high_steps for pair in pairs for event in pair if event.kind != CENSORED]
    logarithmic = bool(ended) and tau / max(min(ended), 1) >= 15
    if logarithmic:
        axes.set_yscale("log")
        floor, ceiling, beyond = max(min(ended) * 0.72, 0.7), tau * 1.42, tau * 1.19
    else:
        floor, ceiling, beyond = 0.0, tau * 1.13, tau * 1.065
    ticks = style.round_steps(floor, tau) if logarithmic else style.even_steps(floor, tau)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(floor, ceiling)
    axes.axhspan(tau, ceiling, color="#ececec", zorder=0.5, lw=0)
    axes.axhline(tau, color=FAINT, lw=0.9, ls=(0, (4, 3)), zorder=1.5)
    aside = axes.get_yaxis_transform()
    axes.text(-0.008, beyond, "not by τ", fontsize=9, color=FAINT, va="center", ha="right", transform=aside)
    axes.set_ylabel(f"steps{' (log scale)' if logarithmic else ''}", fontsize=10.5, color=INK)
    for cell in diagram.cells:
        _draw_cell(axes, cell, (floor, FOLLOW_UP * tau, beyond))
    style.draw_legend(axes, _time_handles(diagram, pairs), "Time to each event", (1.012, 1.0))


def _draw_cell(axes: Axes, cell: Cell, marks: tuple[float, float, float]) -> None:
    count = len(cell.trials)
    lanes = cell.x + (np.linspace(*SEED_LANES, count) if count > 1 else np.array([sum(SEED_LANES) / 2]))
    for lane, placed in zip(lanes, cell.trials, strict=True):
        if placed.t_mem and placed.t_gen:
            _draw_trial(axes, lane, placed.t_mem, placed.t_gen, marks, 6.0 if count <= FEW_SEEDS else 2.0)
    mean = cell.t_gen.restricted_mean_steps
    if math.isnan(mean.value):
        return
    lane, certain = cell.x + SUMMARY_LANE, math.isnan(mean.low)
    if not certain:
        axes.plot([lane, lane], [mean.low, mean.high], color=MEAN_COLOUR, lw=2.2, zorder=5)
    axes.plot([lane], [mean.value], marker="D", ms=7, color=MEAN_COLOUR, mec="white", mew=1.0, zorder=6)
    axes.annotate(
        f"{mean.value:.0f}",
        (lane, mean.value if certain else max(mean.high, mean.value)),
        xytext=(0, 6 if certain else 4.5),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9.5,
        fontweight="bold",
        color=INK,
        zorder=6,
    )


def _draw_trial(
    axes: Axes, lane: float, mem: Event, gen: Event, marks: tuple[float, float, float], width: float
) -> None:
    """One seed as a stem: from memorising up to generalising, or to why that did not come.

    :param marks: the axis' floor, from where on following counts as "to tau", and where such trials are drawn.
    """
    floor, followed, beyond = marks
    top = gen.high_steps if gen.kind != CENSORED else beyond if gen.low_steps >= followed else gen.low_steps
    if mem.kind == EVENT:
        axes.plot([lane, lane], [mem.high_steps, top], color=STEM, lw=1.1, zorder=2, solid_capstyle="butt")
    for event, colour in ((mem, MEM_COLOUR), (gen, GEN_COLOUR)):
        if event.kind == EVENT:
            span = [max(event.low_steps, floor), event.high_steps]
            axes.plot([lane, lane], span, color=colour, lw=width, zorder=3, solid_capstyle="butt")
    if gen.kind == CENSORED:
        colour = MEM_COLOUR if mem.kind == CENSORED else GEN_COLOUR
        axes.plot([lane], [top], marker="^", ms=6.5, mfc="white", mec=colour, mew=1.3, zorder=4)
    elif gen.kind == FROZEN:
        axes.plot([lane], [top], marker=(6, 2, 0), ms=8, color=GEN_COLOUR, mew=1.4, zorder=4)
    elif gen.kind == DIVERGED:
        axes.plot([lane], [top], marker="X", ms=7.5, color=DIVERGED_COLOUR, mec="white", mew=0.7, zorder=4)


def _time_handles(diagram: Diagram, pairs: list[tuple[Event, Event]]) -> list[Line2D]:
    frame = diagram.frame
    bar: dict[str, Any] = {"lw": 6, "solid_capstyle": "butt"}
    open_triangle: dict[str, Any] = {"marker": "^", "ls": "", "ms": 6.5, "mfc": "white", "mew": 1.3}
    handles = [
        Line2D([], [], color=GEN_COLOUR, label=f"t_gen: test accuracy ≥ {frame.test_threshold:g}", **bar),
        Line2D([], [], color=MEM_COLOUR, label=f"t_mem: training ≥ {frame.train_threshold:g}", **bar),
        Line2D([], [], color=STEM, lw=1.2, label="a seed's delay"),
    ]
    kinds = {(mem.kind == CENSORED, gen.kind) for mem, gen in pairs}
    if (False, CENSORED) in kinds:
        handles.append(Line2D([], [], mec=GEN_COLOUR, label="t_gen not by τ", **open_triangle))
    if (True, CENSORED) in kinds:
        handles.append(Line2D([], [], mec=MEM_COLOUR, label="neither by τ", **open_triangle))
    endings = {kind for _, kind in kinds}
    if FROZEN in endings:
        frozen: dict[str, Any] = {"marker": (6, 2, 0), "ls": "", "ms": 8, "mew": 1.4}
        handles.append(Line2D([], [], color=GEN_COLOUR, label="frozen for ever", **frozen))
    if DIVERGED in endings:
        handles.append(Line2D([], [], marker="X", ls="", ms=7.5, color=DIVERGED_COLOUR, mec="white", label="diverged"))
    mean = "RMST(τ) of t_gen,\n95 % interval"
    return [*handles, Line2D([], [], marker="D", ms=7, color=MEAN_COLOUR, mec="white", lw=1.8, label=mean)]


def _draw_shares(axes: Axes, diagram: Diagram) -> None:
    """The lower panel: how many seeds ended in each phase, and P(t_gen by tau)."""
    middle = sum(SEED_LANES) / 2
    for cell in diagram.cells:
        base = 0.0
        for phase, ending, number in style.segments(cell):
            colour, share = style.PHASE_COLOURS[phase], number / len(cell.trials)
            axes.bar(
                cell.x + middle,
                share,
                bottom=base,
                width=0.48,
                color=colour,
                edgecolor="#9a9a9a" if style.is_blank(phase) else "white",
                linestyle=":" if phase == MISSING else "-",
                hatch=style.ENDINGS[ending],
                linewidth=0.8,
                zorder=3,
            )
            axes.text(
                cell.x + middle,
                base + share / 2,
                str(number),
                ha="center",
                va="center",
                fontsize=8.5,
                color=style.ink_on(colour),
                zorder=4,
                bbox={"fc": colour, "ec": "none", "pad": 1.2} if style.ENDINGS[ending] else None,
            )
            base += share
        reached, lane = cell.t_gen.by_tau, cell.x + SUMMARY_LANE
        if not math.isnan(reached.value):
            axes.plot([lane, lane], [reached.low, reached.high], color=MEAN_COLOUR, lw=2.2, zorder=4)
            axes.plot([lane], [reached.value], marker="o", ms=5.5, color=MEAN_COLOUR, mec="white", mew=0.8, zorder=5)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("share of seeds", fontsize=10.5, color=INK)
    probability = Line2D([], [], marker="o", ms=5.5, color=MEAN_COLOUR, mec="white", lw=1.8, label="P(t_gen ≤ τ), 95 %")
    handles: list[Patch | Line2D] = [*style.phase_handles(diagram.cells), probability]
    style.draw_legend(axes, handles, "Phase by τ", (1.012, 1.0))


def _is_long(diagram: Diagram) -> bool:
    """Whether the cells' names must be turned to stand beside each other."""
    return max(len(tick) for tick in diagram.x.ticks) > 12


def _draw_ticks(axes: Axes, diagram: Diagram) -> None:
    """The cells' names, what their values belong to, and n where it differs."""
    counts = [0] * len(diagram.x.ticks)
    for cell in diagram.cells:
        counts[cell.x] = len(cell.trials) - cell.count(MISSING)
    uneven, long = len(set(counts)) > 1, _is_long(diagram)
    ticks = [
        f"{style.short(tick)}\nn = {count}" if uneven else style.short(tick)
        for tick, count in zip(diagram.x.ticks, counts, strict=True)
    ]
    axes.set_xticks(range(len(ticks)), ticks, fontsize=8 if long else 10.5, color=INK)
    if long:
        for text in axes.get_xticklabels():
            text.set(rotation=20, ha="right", rotation_mode="anchor")
    if not diagram.x.groups:
        axes.set_xlabel(style.safe(diagram.x.label), fontsize=10.5, color=INK, labelpad=4)
        return
    depth = -0.215 - 0.16 * uneven - 0.55 * long
    along = axes.get_xaxis_transform()
    start = 0
    for index, group in enumerate(diagram.x.groups):
        if index + 1 < len(diagram.x.groups) and diagram.x.groups[index + 1] == group:
            continue
        if group:
            axes.plot([start - 0.36, index + 0.36], [depth] * 2, color=FAINT, lw=1, clip_on=False, transform=along)
            axes.text(
                (start + index) / 2,
                depth - 0.05,
                style.safe(group),
                ha="center",
                va="top",
                fontsize=10.5,
                color=INK,
                transform=along,
            )
        start = index + 1
