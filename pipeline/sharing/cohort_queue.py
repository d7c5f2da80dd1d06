"""The cohorts that a run has still to train, where other drivers of the same ledger may train some of them."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from pipeline.plan import CohortPlan
from pipeline.sharing.lease import Lease
from pipeline.sharing.leases import Leases
from trainables.engine.trial import TrialConfig

CLAIM_ALONE_S, CLAIM_S = 10.0, 1.0
"""Claim so much work at a time, in seconds of training as predicted, while nobody else is at work, and else: more
would keep it from others, and a claim of every small cohort by itself would cost more than its training."""
LOOK_EVERY_S = 5.0
"""How often to look whether others are done with what they hold."""


class CohortQueue:
    """Cohorts in the order in which they run; those that another driver trains wait for it.

    :param leases: the claims of this process; None where nobody else can be at work.
    :param left: plans what the ledger still lacks of some trials, in cohorts of at most a given size, or of the size
        that a run chooses for new ones.
    """

    def __init__(
        self,
        cohorts: Iterable[CohortPlan],
        leases: Leases | None,
        left: Callable[[Sequence[TrialConfig], int | None], Sequence[CohortPlan]],
    ) -> None:
        self._leases = leases
        self._left = left
        self._planned = deque(cohorts)
        self._claimed: deque[CohortPlan] = deque()
        self._elsewhere: dict[str, TrialConfig] = {}
        self._next_look = 0.0
        self._alone = True
        """Whether no other driver has been at work since the plan."""
        self.others: list[Lease] = []
        """The leases of the other drivers when this one looked last."""

    def __bool__(self) -> bool:
        """Whether anything is left, here or elsewhere."""
        return bool(self._planned or self._claimed or self._elsewhere)

    @property
    def empty(self) -> bool:
        """Whether nothing is left here."""
        return not (self._planned or self._claimed)

    def extend(self, cohorts: Iterable[CohortPlan]) -> None:
        """Add cohorts at the end."""
        self._planned.extend(cohorts)

    def put_back(self, cohorts: Sequence[CohortPlan]) -> None:
        """Add cohorts of trials that this process holds, as the next ones."""
        self._claimed.extendleft(reversed(cohorts))

    def release(self, trials: Iterable[TrialConfig]) -> None:
        """Give up trials that have ended, unless they are to run again."""
        if self._leases is not None:
            again = {trial.trial_id for cohort in self._claimed for trial in cohort.trials}
            self._leases.release({trial.trial_id for trial in trials} - again, tell=not self._alone)

    def clear(self) -> None:
        """Give up everything."""
        claimed = [trial for cohort in self._claimed for trial in cohort.trials]
        for trials in (self._planned, self._claimed, self._elsewhere):
            trials.clear()
        self.release(claimed)

    def pop(self) -> tuple[CohortPlan | None, list[str]]:
        """Take the next cohort that nobody else trains, if there is one.

        :return: the cohort, and the ids of trials that others have settled meanwhile.
        """
        settled: list[str] = []
        while not self._claimed and self._planned:
            settled += self._claim()
        return (self._claimed.popleft() if self._claimed else None), settled

    def look(self) -> list[str] | None:
        """Look, every few seconds, what has become of the trials of others; None in between.

        :return: the ids of trials that they have settled; the rest of what they gave up, or left behind, is in the
            queue.
        """
        if self._leases is None or not self._elsewhere or time.monotonic() < self._next_look:
            return None
        self.others = self._leases.others()
        held = {trial_id for lease in self.others for trial_id in lease.trials}
        free = [self._elsewhere.pop(trial_id) for trial_id in self._elsewhere.keys() - held]
        cohorts = self._left(free, None) if free else ()
        self._planned.extend(cohorts)
        left = {trial.trial_id for cohort in cohorts for trial in cohort.trials}
        self._next_look = time.monotonic() + LOOK_EVERY_S
        return [trial.trial_id for trial in free if trial.trial_id not in left]

    def _claim(self) -> list[str]:
        """Claim the next few cohorts; return the ids of those of their trials that the ledger has by now."""
        self._alone = self._leases is None or (self._alone and self._leases.undisturbed())
        claim_s = CLAIM_ALONE_S if self._alone else CLAIM_S
        batch = [self._planned.popleft()]
        while self._planned and sum(cohort.predicted_s for cohort in batch) < claim_s:
            batch.append(self._planned.popleft())
        if self._leases is None:
            self._claimed.extend(batch)
            return []
        ours = self._leases.claim({trial.trial_id for cohort in batch for trial in cohort.trials})
        self._alone = self._alone and self._leases.undisturbed()
        settled: list[str] = []
        for cohort in batch:
            trials = tuple(trial for trial in cohort.trials if trial.trial_id in ours)
            self._elsewhere |= {trial.trial_id: trial for trial in cohort.trials if trial.trial_id not in ours}
            if self._alone:
                self._claimed.append(cohort)
                continue
            left = self._left(trials, len(trials)) if trials else ()
            self._claimed.extend(left)
            done = {trial.trial_id for trial in trials} - {trial.trial_id for each in left for trial in each.trials}
            self._leases.release(done)
            settled += sorted(done)
        return settled
