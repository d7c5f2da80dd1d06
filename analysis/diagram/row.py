"""A row of cells over time: every seed's events as intervals, the restricted mean, and the phases below.

A row that is too long goes on in a further line; with a facet each of its values has a panel of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.diagram import marks
from analysis.diagram.cells import Cell, Diagram
from analysis.diagram.handles import LINES, draw_interval, draw_number, draw_symbol, legend_handles
from analysis.diagram.layout import GAP as APART
from analysis.diagram.marks import BAR_LANE, BAR_WIDTH, MEAN_SYMBOL, SHARE_SYMBOL, SUMMARY_LANE, Stem, TimeAxis
from analysis.diagram.words import estimator_words, notes
from analysis.drawing import sheet as sheets
from analysis.drawing import style
from analysis.drawing.sheet import LINE, Key, Panels, Sheet, Surroundings, Ticks, add_axes, text_in
from analysis.drawing.style import AXIS_COLOUR, BEYOND_COLOUR, FAINT, GRID, INK, MEAN_COLOUR, STEM

CELL_IN, LEAST_CELL_IN = 0.98, 0.3
"""The width of a cell; and the least one on a sheet of a given width."""
LONGEST = 14
"""Cells of a line, where the sheet is as wide as it needs."""
GAP_IN, LINE_GAP_IN = 0.14, 0.12
"""Between panels of a line, and between lines."""
BEYOND = "not by τ"
NOTE = (
    "A bar is the interval (L, R] that holds the event.  RMST(τ) = ∫₀^τ (1 − CIF): a seed without the event by τ "
    "counts τ, whatever the reason.  CIF: {estimator}.  95 % intervals: Bayesian bootstrap over seeds for RMST, exact "
    "for shares."
)


def draw_row(figure: Figure, diagram: Diagram, sheet: Sheet = sheets.WIDE) -> None:
    """Draw a diagram without a vertical axis: time above, phases below."""
    row = _Row.of(diagram, sheet)
    times = legend_handles(marks.time_legend(diagram, row.stems), sheet.symbols)
    shares = legend_handles(marks.phase_legend(diagram, probability=True), sheet.symbols)
    around = Surroundings(
        title=diagram.title,
        subtitle=diagram.subtitle,
        notes=notes(diagram, row_note(diagram)),
        keys=[Key("Time to each event", times), Key("Phase by τ", shares, down_in=row.upper + row.between)],
    )
    panels = Panels(row.width_in, row.height_in, lambda left, top: _draw_lines(figure, row, left, top))
    sheets.compose(figure, sheet, around, panels)


def row_note(diagram: Diagram) -> str:
    """How to read a row."""
    return NOTE.format(estimator=estimator_words(diagram) or "not known yet")


@dataclass(frozen=True)
class _Panel:
    """Cells beside each other on axes of their own."""

    title: str
    places: tuple[int, ...]
    """Their ticks, in order."""

    def at(self, diagram: Diagram, place: int) -> float:
        """Where a cell is, in cells."""
        return diagram.x.at(place) - diagram.x.at(self.places[0])

    def cells(self, diagram: Diagram) -> float:
        """The length in cells."""
        return self.at(diagram, self.places[-1]) + 1

    def title_in(self, sheet: Sheet) -> float:
        """How wide its title is."""
        return text_in(self.title, sheet.label, bold=True)


@dataclass(frozen=True)
class _Row:
    """What a row shows, and its sizes in inches."""

    diagram: Diagram
    sheet: Sheet
    time: TimeAxis
    stems: tuple[Stem, ...]
    lines: tuple[tuple[_Panel, ...], ...]
    side: float
    """The width of a cell."""

    @classmethod
    def of(cls, diagram: Diagram, sheet: Sheet) -> "_Row":
        fixed = sheet.width_in is not None
        time = marks.time_axis(diagram, band=2.0 if fixed else 1.0)
        margin = _margin(sheet)
        room = (sheet.width_in or 0.0) - margin - 2 * sheet.margin_in
        least = max(LEAST_CELL_IN, 1.15 * text_in("1500", sheet.small, bold=True))
        longest = max(1, int(room / least)) if fixed else LONGEST
        lines = tuple(map(tuple, _lines(diagram, longest)))
        side = CELL_IN
        if fixed:
            side = min(side, *(_widest_cell(diagram, sheet, line, room) for line in lines))
        elif len(diagram.x.ticks) < 6:
            side = 4.9 / diagram.x.cells
        return cls(diagram, sheet, time, tuple(marks.stems(diagram, time)), lines, side)

    @property
    def margin(self) -> float:
        return _margin(self.sheet)

    def width(self, panel: _Panel) -> float:
        """The room of a panel: its cells, or its title where that is longer."""
        return max(panel.cells(self.diagram) * self.side, panel.title_in(self.sheet))

    @property
    def headed(self) -> bool:
        """Whether RMST is written above the cells: there is no room for it beside the seeds."""
        return text_in("1500", self.sheet.value - 1, bold=True) > 0.42 * self.side

    @property
    def number(self) -> float:
        """The size of RMST's numbers, in points: above the cells they are apart from each other."""
        if not self.headed:
            return self.sheet.value - 1
        means = [cell.main.restricted_mean_steps.value for cell in self.diagram.cells]
        longest = max((text_in(f"{mean:.0f}", 1, bold=True) for mean in means), default=1.0)
        return max(min(self.sheet.value, 0.84 * self.side / longest), self.sheet.small)

    @property
    def head(self) -> float:
        """Above the upper panel: its title, and RMST."""
        titles = 1.6 * self.sheet.label / 72 if self.diagram.facet else 0.0
        return titles + (1.5 * self.sheet.value / 72 if self.headed else 0.0)

    @property
    def upper(self) -> float:
        if self.sheet.width_in is None:
            return 3.65 if len(self.lines) == 1 else 2.4
        return 1.75 if len(self.lines) == 1 else 1.25

    @property
    def lower(self) -> float:
        return self.upper * 0.36

    @property
    def between(self) -> float:
        return 0.17 if self.sheet.width_in is None else 0.08

    @property
    def counted(self) -> bool:
        """Whether ticks say how many trials a cell has: it is not the same in all."""
        return len({cell.measured for cell in self.diagram.cells}) > 1

    @property
    def written(self) -> Ticks:
        """How the ticks are written."""
        left = self.margin + self.sheet.margin_in + self.side / 2
        firsts = [self.ticks[line[0].places[0]] for line in self.lines]
        longest = max(firsts, key=len)
        return Ticks.of([longest, *self.ticks.values()], self.sheet.tick, self.side, left)

    @property
    def ticks(self) -> dict[int, str]:
        """What stands below each cell."""
        counts = {cell.x: cell.measured for cell in self.diagram.cells}
        short = map(style.shortened, self.diagram.x.ticks)
        if not self.counted:
            return dict(enumerate(short))
        return {place: f"{tick} (n = {counts.get(place, 0)})" for place, tick in enumerate(short)}

    @property
    def ticks_in(self) -> float:
        """The height of the ticks."""
        return self.written.height_in + 0.2 * self.sheet.tick / 72

    @property
    def foot(self) -> float:
        """Below the lower panel: its ticks, and what they belong to."""
        groups = self.diagram.x.groups
        written = max((len(words) for line in self.lines for _, _, words in _groups(self, line)), default=0)
        labels = max(written, 1) * self.sheet.label * LINE / 72 if groups or self.diagram.x.label else 0.0
        return self.ticks_in + labels + 0.1

    @property
    def line_in(self) -> float:
        """The height of a line."""
        return self.head + self.upper + self.between + self.lower + self.foot + LINE_GAP_IN

    @property
    def width_in(self) -> float:
        return self.margin + max(sum(self.width(panel) + GAP_IN for panel in line) for line in self.lines) - GAP_IN

    @property
    def height_in(self) -> float:
        return len(self.lines) * self.line_in - LINE_GAP_IN


def _margin(sheet: Sheet) -> float:
    """Left of the cells: the vertical axes."""
    return max(text_in(text, size) for text, size in ((BEYOND, sheet.tick - 1), ("00000", sheet.tick))) + (
        1.6 * sheet.label / 72 + 0.06
    )


def _widest_cell(diagram: Diagram, sheet: Sheet, line: Sequence[_Panel], room: float) -> float:
    """How wide cells may be where a panel has at least the room of its title."""
    room -= GAP_IN * (len(line) - 1)
    for _ in line:
        side = room / sum(panel.cells(diagram) for panel in line)
        short = [panel for panel in line if panel.title_in(sheet) > panel.cells(diagram) * side]
        if not short or len(short) == len(line):
            break
        room -= sum(panel.title_in(sheet) for panel in short)
        line = [panel for panel in line if panel not in short]
    return side


def _lines(diagram: Diagram, longest: int) -> list[list[_Panel]]:
    """The panels of each line: those of the facet, or a part of the row; groups stay together where they fit."""
    parts: list[tuple[str, list[int]]] = []
    if diagram.facet is not None:
        panel_of = {cell.x: cell.panel for cell in diagram.cells}
        for panel, members in groupby(sorted(panel_of), key=lambda place: panel_of[place]):
            parts += [(diagram.facet.ticks[panel], part) for part in _split([*members], longest)]
    else:
        groups = diagram.x.groups or ("",) * len(diagram.x.ticks)
        for _, members in groupby(range(len(groups)), key=lambda place: groups[place]):
            parts += [("", part) for part in _split([*members], longest)]
    lines: list[list[_Panel]] = []
    for title, part in parts:
        held = sum(len(panel.places) for panel in lines[-1]) if lines else longest
        if held + len(part) > longest:
            lines.append([_Panel(title, tuple(part))])
        elif diagram.facet is None:
            lines[-1] = [_Panel("", (*lines[-1][0].places, *part))]
        else:
            lines[-1].append(_Panel(title, tuple(part)))
    return lines


def _split(places: list[int], longest: int) -> list[list[int]]:
    """Parts of nearly equal length that are not too long."""
    number = math.ceil(len(places) / longest)
    return [part.tolist() for part in np.array_split(places, number)]


def _groups(row: _Row, line: Sequence[_Panel]) -> list[tuple[_Panel, tuple[int, int], list[str]]]:
    """What the ticks of a line belong to: the panel, the first and the last place, and the words in lines."""
    groups, size = row.diagram.x.groups, row.sheet.label
    if not groups:
        return []
    found = []
    for panel in line:
        for group, members in groupby(panel.places, key=lambda place: groups[place]):
            first, *_, last = [*(places := [*members]), places[-1]]
            if group:
                room = (row.diagram.x.at(last) - row.diagram.x.at(first) + 0.94) * row.side
                found.append((panel, (first, last), sheets.lines(style.shown(group), size, room)))
    return found


def _draw_lines(figure: Figure, row: _Row, left: float, top: float) -> None:
    diagram, sheet = row.diagram, row.sheet
    for number, line in enumerate(row.lines):
        start, ceiling = left + row.margin, top - number * row.line_in - row.head
        for panel in line:
            wide = panel.cells(diagram) * row.side
            upper = add_axes(figure, start, ceiling - row.upper, wide, row.upper)
            floor = ceiling - row.upper - row.between - row.lower
            lower = add_axes(figure, start, floor, wide, row.lower)
            for axes in (upper, lower):
                _prepare(axes, row, panel, first=panel is line[0])
            _draw_times(upper, row, panel, first=panel is line[0])
            _draw_shares(lower, row, panel)
            _draw_ticks(lower, row, panel)
            if panel.title:
                up = (1.5 * sheet.value if row.headed else 0.0) + 0.35 * sheet.label
                look: dict[str, Any] = {"textcoords": "offset points", "ha": "left", "va": "bottom", "color": INK}
                look |= {"xytext": (0, up), "xycoords": "axes fraction", "fontsize": sheet.label}
                upper.annotate(style.safe(panel.title), (0, 1), fontweight="bold", **look)
            start += row.width(panel) + GAP_IN
        look = {"fontsize": sheet.label, "color": INK, "transform": figure.dpi_scale_trans}
        aside: dict[str, Any] = {"rotation": 90, "ha": "left", "va": "center", **look}
        unit = f"steps{' (log scale)' if row.time.logarithmic else ''}"
        figure.text(left, ceiling - row.upper / 2, unit, **aside)
        share = "share of seeds" if text_in("share of seeds", sheet.label) < row.lower * 1.15 else "share"
        figure.text(left, floor + row.lower / 2, share, **aside)
        if not diagram.x.groups:
            middle = left + row.margin + (start - GAP_IN - left - row.margin) / 2
            below = floor - row.ticks_in - 0.02
            figure.text(middle, below, style.safe(diagram.x.label), ha="center", va="top", **look)
        for panel, (first, last), words in _groups(row, line):
            _draw_group(figure, row, line, panel, (first, last), words, left + row.margin, floor - row.ticks_in)


def _draw_group(
    figure: Figure,
    row: _Row,
    line: Sequence[_Panel],
    panel: _Panel,
    ends: tuple[int, int],
    words: Sequence[str],
    left: float,
    top: float,
) -> None:
    """A line below the ticks of a group, and its words."""
    before = line[: line.index(panel)]
    start = left + sum(row.width(each) + GAP_IN for each in before)
    first, last = (start + (panel.at(row.diagram, place) + 0.5) * row.side for place in ends)
    reach = 0.36 * row.side
    inches = figure.dpi_scale_trans
    figure.add_artist(
        Line2D([first - reach, last + reach], [top - 0.02] * 2, color=FAINT, lw=row.sheet.symbols, transform=inches)
    )
    look: dict[str, Any] = {"ha": "center", "va": "top", "linespacing": LINE, "fontsize": row.sheet.label}
    text = "\n".join(words).replace("$", r"\$")
    figure.text((first + last) / 2, top - 0.05, text, color=INK, transform=inches, **look)


def _prepare(axes: Axes, row: _Row, panel: _Panel, *, first: bool) -> None:
    """What both axes of a panel share."""
    sheet = row.sheet
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(AXIS_COLOUR)
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.tick_params(
        axis="y", color=AXIS_COLOUR, labelcolor=INK, labelsize=sheet.tick, labelleft=first, length=3.5 * sheet.symbols
    )
    axes.grid(axis="y", color=GRID, lw=0.8 * sheet.symbols, zorder=0.8)
    for number, place in enumerate(panel.places):
        if number % 2 == 0:
            at = panel.at(row.diagram, place)
            axes.axvspan(at - 0.5, at + 0.5, color="#f6f7f9", zorder=0, lw=0)
    for place in set(panel.places[:-1]) & {*row.diagram.x.apart}:
        start = panel.at(row.diagram, place) + 0.5
        axes.axvspan(start, start + APART, color="white", zorder=1.6, lw=0)
        look: dict[str, Any] = {"color": "white", "lw": 2, "solid_capstyle": "butt", "clip_on": False, "zorder": 3}
        axes.plot([start, start + APART], [0, 0], transform=axes.get_xaxis_transform(), **look)
    axes.set_xlim(-0.5, panel.cells(row.diagram) - 0.5)
    axes.set_xticks([])


def _draw_times(axes: Axes, row: _Row, panel: _Panel, *, first: bool) -> None:
    """The upper axes: each seed's events, and RMST of the main one."""
    tau, time, sheet = row.diagram.tau_steps, row.time, row.sheet
    if time.logarithmic:
        axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(time.ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(time.floor, time.ceiling)
    axes.axhspan(tau, time.ceiling, color=BEYOND_COLOUR, zorder=0.5, lw=0)
    axes.axhline(tau, color=FAINT, lw=0.9 * sheet.symbols, ls=(0, (4, 3)), zorder=1.5)
    if first:
        look: dict[str, Any] = {"xytext": (-7 * sheet.symbols, 0), "textcoords": "offset points"}
        look |= {"fontsize": max(sheet.tick - 1, 6), "color": FAINT, "va": "center", "ha": "right"}
        axes.annotate(BEYOND, (0, time.beyond), xycoords=axes.get_yaxis_transform(), **look)
        if row.headed:
            look |= {"va": "bottom", "xytext": (look["xytext"][0], 2), "color": INK, "fontsize": sheet.tick}
            axes.annotate("RMST", (0, 1), xycoords="axes fraction", fontweight="bold", **look)
    _draw_stems(axes, [stem for stem in row.stems if stem.x in panel.places], row, panel)
    for cell in row.diagram.cells:
        if cell.x in panel.places:
            _draw_mean(axes, cell, row, panel)


def _draw_stems(axes: Axes, stems: Sequence[Stem], row: _Row, panel: _Panel) -> None:
    """All stems, as a few artists: one a line takes a second a thousand."""
    places = np.array([panel.at(row.diagram, stem.x) - 0.5 + stem.lane for stem in stems])
    size = row.sheet.symbols
    # A bar is no wider than its lane: on a narrow sheet the seeds stay apart.
    lanes = {cell.x: 72 * row.side * 0.39 / max(len(cell.trials) - 1, 1) for cell in row.diagram.cells}
    widths = [min(size * stem.width, 0.8 * lanes[stem.x]) for stem in stems]

    def lines(ends: list[tuple[float, float]], colour: str, width: float | list[float], zorder: float) -> None:
        known = [index for index, span in enumerate(ends) if not any(map(math.isnan, span))]
        if known:
            width = [width[index] for index in known] if isinstance(width, list) else width
            segments = [[(places[index], end) for end in ends[index]] for index in known]
            look: dict[str, Any] = {"colors": colour, "linewidths": width, "capstyle": "butt", "zorder": zorder}
            axes.add_collection(LineCollection(segments, **look), autolim=False)

    lines(
        [(stem.bottom, stem.top) for stem in stems], STEM, [min(1.1 * size, 0.5 * lanes[stem.x]) for stem in stems], 2
    )
    lines([stem.spans[1] for stem in stems], marks.EARLIER_COLOUR, widths, 3)
    lines([stem.spans[0] for stem in stems], marks.MAIN_COLOUR, widths, 3.1)
    for end, symbol in marks.ENDS.items():
        ended = [index for index, stem in enumerate(stems) if stem.end == end]
        if ended:
            draw_symbol(axes, places[ended], [stems[index].top for index in ended], symbol, zorder=4, size=size)


def _draw_mean(axes: Axes, cell: Cell, row: _Row, panel: _Panel) -> None:
    mean, at, size = cell.main.restricted_mean_steps, panel.at(row.diagram, cell.x) - 0.5 + SUMMARY_LANE, row.sheet
    if math.isnan(mean.value):
        return
    given = cell.main.given_steps
    draw_interval(axes, at, mean.low, mean.high, MEAN_COLOUR, size.symbols * LINES["line"]["lw"])
    draw_interval(axes, at, given.low, given.high, MEAN_COLOUR, size.symbols * LINES["bar"]["lw"])
    draw_symbol(axes, at, mean.value, MEAN_SYMBOL, zorder=6, size=size.symbols)
    look: dict[str, Any] = {"fontsize": row.number, "fontweight": "bold"}
    look |= {"ha": "center", "va": "bottom", "color": INK, "zorder": 6, "textcoords": "offset points"}
    if row.headed:
        place, along = (panel.at(row.diagram, cell.x), 1.0), axes.get_xaxis_transform()
        axes.annotate(f"{mean.value:.0f}", place, xycoords=along, xytext=(0, 2), **look)
    else:
        top = np.fmax(mean.high, given.high)  # A thick bar would hide the number.
        axes.annotate(f"{mean.value:.0f}", (at, top), xytext=(0, 4.5 * size.symbols), **look)


def _draw_shares(axes: Axes, row: _Row, panel: _Panel) -> None:
    """The lower axes: how many seeds ended in each phase, and P of the main event by tau."""
    diagram, sheet = row.diagram, row.sheet
    for cell in diagram.cells:
        if cell.x not in panel.places:
            continue
        at = panel.at(diagram, cell.x) - 0.5 + BAR_LANE
        for part in marks.segments(diagram, cell):
            axes.bar(
                at,
                part.high - part.low,
                bottom=part.low,
                width=BAR_WIDTH,
                color=part.colour,
                edgecolor=part.edge,
                hatch=part.hatch,
                linewidth=0.8 * sheet.symbols,
                zorder=3,
            )
            if (part.high - part.low) * row.lower > 1.1 * sheet.legend / 72:
                draw_number(axes, at, (part.low + part.high) / 2, part, min(sheet.legend, 8.5), 1.2 * sheet.symbols)
        reached, at = cell.main.by_tau, panel.at(diagram, cell.x) - 0.5 + SUMMARY_LANE
        if not math.isnan(reached.value):
            draw_interval(axes, at, reached.low, reached.high, MEAN_COLOUR, 2.2 * sheet.symbols)
            draw_symbol(axes, at, reached.value, SHARE_SYMBOL, zorder=5, size=sheet.symbols)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([0, 0.5, 1])


def _draw_ticks(axes: Axes, row: _Row, panel: _Panel) -> None:
    """The cells' names, and n where it differs."""
    ticks = [style.safe(row.ticks[place]) for place in panel.places]
    places = [panel.at(row.diagram, place) for place in panel.places]
    axes.set_xticks(places, ticks, fontsize=row.sheet.tick, color=INK)
    axes.tick_params(axis="x", length=0, labelbottom=True, pad=2.5)
    row.written.turn(axes)
