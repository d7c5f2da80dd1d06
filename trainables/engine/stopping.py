"""When a trial may end before its horizon without harming the estimate of its times.

Three reasons, and no other (a scheduler that stops trials by how they compare makes the censoring informative):

* ``success``: the highest reported threshold of the test accuracy, and that of the training accuracy, are
  sustained, so that no reported event is censored by stopping;
* ``diverged``: the loss, the gradient or the weights are not finite;
* ``frozen``: the weights provably never change again (the cohort certifies it).

``diverged`` and ``frozen`` are outcomes that compete with grokking, not censoring.
"""

from dataclasses import dataclass

import numpy as np

from trainables.engine.config import Config, option
from trainables.engine.events import DIVERGED, FROZEN, TEST_THRESHOLDS, TRAIN_THRESHOLDS, Criterion, sustained_at

SUCCESS = "success"


@dataclass(frozen=True, kw_only=True)
class Stopping(Config):
    """Which reasons end a trial early, and the criterion of success."""

    on_success: bool = option(True)
    """End a trial whose highest thresholds are sustained; turn off to watch for a relapse."""
    on_frozen: bool = option(True)
    """End a trial whose weights are certified never to change again."""

    def reason(
        self, steps: np.ndarray, train_accuracy: np.ndarray, test_accuracy: np.ndarray, *, finite: bool, frozen: bool
    ) -> str | None:
        """Why a trial ends now, or None.

        :param steps: the measured steps so far, ascending, shape (T,).
        :param train_accuracy: fractions at those steps, shape (T,).
        :param test_accuracy: fractions at those steps, shape (T,).
        :param finite: whether the loss, the gradient and the weights are finite now.
        :param frozen: whether the weights are certified frozen now.
        """
        if not finite:
            return DIVERGED
        if self.on_success and self._successful(steps, train_accuracy, test_accuracy):
            return SUCCESS
        if self.on_frozen and frozen:
            return FROZEN
        return None

    def _successful(self, steps: np.ndarray, train_accuracy: np.ndarray, test_accuracy: np.ndarray) -> bool:
        highest = (
            (train_accuracy, Criterion(threshold=max(TRAIN_THRESHOLDS))),
            (test_accuracy, Criterion(threshold=max(TEST_THRESHOLDS))),
        )
        return all(sustained_at(steps, values, criterion) is not None for values, criterion in highest)
