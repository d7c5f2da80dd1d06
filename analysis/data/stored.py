"""What a sweep of very many trials leaves in the ledger: curves and configurations, read when they are asked for.

Of a hundred thousand trials the curves alone take more memory than everything that is drawn of them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from analysis.data.sweep import STEP, CurveReader


class StoredCurves(Mapping[str, np.ndarray]):
    """The curves of one trial, read anew whenever one is asked for: for many trials use :meth:`Sweep.iter_curves`."""

    def __init__(self, reader: CurveReader, trial_id: str, columns: Sequence[str]) -> None:
        self._reader, self._trial_id, self._columns = reader, trial_id, columns

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self:
            raise KeyError(name)
        curves: Iterable[tuple[str, Mapping[str, np.ndarray]]] = self._reader([self._trial_id], self._columns)
        return next(iter(curves))[1][name]

    def __contains__(self, name: object) -> bool:
        return name == STEP or name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter((STEP, *self._columns))

    def __len__(self) -> int:
        return 1 + len(self._columns)


class StoredJson(Mapping[str, Any]):
    """A JSON object that stays text until it is asked for something."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __getitem__(self, name: str) -> Any:
        return _parsed(self._text)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_parsed(self._text))

    def __len__(self) -> int:
        return len(_parsed(self._text))


@lru_cache(maxsize=64)
def _parsed(text: str) -> dict[str, Any]:
    return json.loads(text)
