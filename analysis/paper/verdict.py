"""Verdicts: what the evidence says of a figure's acceptance statement, by one rule for every figure.

A claim is judged seed by seed: it holds (True), it fails (False), or the run is too short to decide it (None).

* met: it holds in every seed, or in as many as the statement itself asks for;
* not met: at least three seeds are decided, and it fails in more than half of them;
* undecided: between, or with fewer than three seeds, or while a seed that matters is open;
* reported: the statement names no threshold, and the numbers are given as they are;
* not run: nothing was measured.

A claim about the difference of two means is decided once, by its interval over the seeds, instead of seed by seed.

A verdict is met when all its claims are, not met when one is not, and undecided otherwise.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from analysis.data.sweep import Trial

MET, NOT_MET, UNDECIDED, REPORTED, NOT_RUN = STATUSES = ("met", "not met", "undecided", "reported", "not run")
MIN_SEEDS = 3

Tristate = bool | None
"""Whether something holds; None: not decided yet."""


@dataclass(frozen=True)
class Claim:
    """One part of an acceptance statement."""

    text: str
    holds: tuple[Tristate, ...]
    """One a seed; empty where nothing was run."""
    numbers: str
    """What was measured, in words and numbers."""
    needed: int | None = None
    """How many seeds must hold; every one by default."""
    min_seeds: int = MIN_SEEDS
    """With fewer decided seeds it stays undecided; 1 for what no seed changes."""
    reported: bool = False
    """Shown beside the statement, not judged."""
    open_because: str = ""
    """Why it is undecided, where that is not a matter of counting seeds."""

    @property
    def status(self) -> str:
        """One of :data:`STATUSES`."""
        if self.reported:
            return REPORTED if self.numbers else NOT_RUN
        if not self.holds:
            return NOT_RUN
        decided = [held for held in self.holds if held is not None]
        if len(decided) < self.min_seeds:
            return UNDECIDED
        if 2 * decided.count(False) > len(decided):
            return NOT_MET
        needed = len(self.holds) if self.needed is None else self.needed
        return MET if decided.count(True) >= needed else UNDECIDED

    @property
    def seeds(self) -> str:
        """`` (4 of 5 seeds)``; empty where it is decided once."""
        return f" ({self.holds.count(True)} of {len(self.holds)} seeds)" if len(self.holds) > 1 else ""

    @property
    def reason(self) -> str:
        """Why it is undecided: ``holds in 1 of 1 seed; 3 are needed``; empty otherwise."""
        if self.status != UNDECIDED:
            return ""
        if self.open_because:
            return self.open_because
        held, failed, open_ = (self.holds.count(value) for value in (True, False, None))
        seeds = f"{len(self.holds)} seed{'' if len(self.holds) == 1 else 's'}"
        words = [f"holds in {held}, fails in {failed} of {seeds}"]
        if open_:
            words = [f"{words[0]}, open in {open_}"]
        if len(self.holds) < self.min_seeds:
            words.append(f"{self.min_seeds} seeds are needed")
        return "; ".join(words)


@dataclass(frozen=True)
class Verdict:
    """What the evidence says of a whole statement."""

    claims: tuple[Claim, ...] = ()
    note: str = ""
    """What a reader must know beside the numbers."""

    @property
    def status(self) -> str:
        """One of :data:`STATUSES`."""
        judged = {claim.status for claim in self.claims if not claim.reported}
        if not judged:
            return REPORTED if any(claim.status == REPORTED for claim in self.claims) else NOT_RUN
        if NOT_MET in judged:
            return NOT_MET
        if judged == {MET}:
            return MET
        return NOT_RUN if judged == {NOT_RUN} else UNDECIDED

    @property
    def reason(self) -> str:
        """The claims that decide it: those not met, or those still open; empty where it is met or only reported."""
        status = self.status
        wanted = {NOT_MET: (NOT_MET,), UNDECIDED: (UNDECIDED, NOT_RUN)}.get(status, ())
        return "; ".join(
            f"{claim.text}: {claim.reason or claim.status}"
            for claim in self.claims
            if claim.status in wanted and not claim.reported
        )


NOTHING = Verdict()
"""The verdict where nothing was run."""


def judge(*claims: Claim, note: str = "") -> Verdict:
    """Combine claims into a verdict: make one for each part by :func:`per_seed`, :class:`Claim` or :func:`report`."""
    return Verdict(claims, note)


def per_seed(
    text: str,
    trials: Iterable[Trial],
    test: Callable[[Trial], Tristate],
    numbers: str,
    needed: int | None = None,
) -> Claim:
    """A claim that one trial a seed decides."""
    return Claim(text, tuple(test(trial) for trial in trials), numbers, needed)


def report(text: str, numbers: str) -> Claim:
    """Numbers without a threshold; empty numbers mean that it was not run."""
    return Claim(text, (), numbers, reported=True)
