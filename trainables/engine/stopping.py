"""When a trial may end before its horizon without harming the estimate of its times.

Three reasons, and no other (a scheduler that stops trials by how they compare makes the censoring informative):

* ``success``: every event that was declared for the trial has held at every threshold, so that stopping censors none;
* ``diverged``: the loss, the gradient or the weights are not finite, so that no event can come any more;
* ``frozen``: the cohort certifies that the weights never change again, so that none can come either.

``diverged`` and ``frozen`` are outcomes that compete with the events, not censoring.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainables.engine.config import Config, option
from trainables.engine.events import EventRule, StopReason, all_held


@dataclass(frozen=True, kw_only=True)
class Stopping(Config):
    """Which reasons end a trial early."""

    on_success: bool = option(True)
    """End a trial once all its events have held; turn it off to watch for a relapse."""
    on_frozen: bool = option(True)
    """End a trial whose weights are certified never to change again."""

    def reason(
        self,
        steps: np.ndarray,
        columns: Mapping[str, np.ndarray],
        events: Sequence[EventRule],
        *,
        finite: bool,
        frozen: bool,
    ) -> StopReason | None:
        """Why a trial ends now, or None.

        :param steps: the measured steps so far, ascending, shape (T,).
        :param columns: the columns of the events at those steps, each (T,); NaN where not measured.
        :param events: those that were declared; a trial without any does not succeed before its horizon.
        :param finite: whether the loss, the gradient and the weights are finite now.
        :param frozen: whether the weights are certified frozen now.
        """
        if not finite:
            return StopReason.DIVERGED
        if self.on_success and events and all_held(steps, columns, events):
            return StopReason.SUCCESS
        if self.on_frozen and frozen:
            return StopReason.FROZEN
        return None
