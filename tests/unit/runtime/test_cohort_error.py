"""What a failed cohort says: the kind of its error, the user's own line, the traceback."""

import pickle

import pytest
import torch

from pipeline.ledger.files import StorageError
from trainables.runtime.status import LONGEST_TRACEBACK, CohortError


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (StorageError("ledger: cannot write /x: No space left on device"), "storage", "ledger: cannot write /x: No"),
        (OSError(28, "No space left on device"), "error", "OSError: [Errno 28]"),  # of the training, say a data set
        (MemoryError(), "out_of_memory", "MemoryError"),
        (torch.OutOfMemoryError("CUDA out\n of memory"), "out_of_memory", "OutOfMemoryError: CUDA out of memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "out_of_memory",
            "RuntimeError: DefaultCPUAllocator",
        ),
        (ValueError("two\nlines"), "error", "ValueError: two lines"),
    ],
)
def test_errors_by_class(error, kind, line):
    found = pickle.loads(pickle.dumps(CohortError.of(error)))
    assert found.kind == kind
    assert str(found).startswith(line)
    assert "\n" not in str(found)


def test_an_error_names_the_users_own_line():
    """Not the house's, nor torch's; an error that came through no line of the user's has none."""

    def step(weight: torch.Tensor) -> torch.Tensor:
        return weight @ torch.zeros(7)

    with pytest.raises(RuntimeError) as raised:
        step(torch.zeros(3))
    line = step.__code__.co_firstlineno + 1
    assert str(CohortError.of(raised.value)).endswith(f" (test_cohort_error.py:{line}, in step)")
    assert "test_cohort_error" not in str(CohortError.of(RuntimeError("never raised")))


def test_an_error_keeps_its_traceback():
    """Through Ray, without secrets, and not longer than a row can bear."""

    def step(depth: int) -> None:
        password = "hunter2"
        raise ValueError(f"no: {password=}" if depth == 0 else "x" * 30_000)

    with pytest.raises(ValueError, match="no") as raised:
        step(0)
    text = pickle.loads(pickle.dumps(CohortError.of(raised.value))).traceback
    assert text.startswith("Traceback (most recent call last):\n")
    assert f'test_cohort_error.py", line {step.__code__.co_firstlineno + 2}, in step\n    raise ValueError' in text
    assert "hunter2" not in text
    with pytest.raises(ValueError, match="xxx") as raised:
        step(1)
    text = CohortError.of(raised.value).traceback
    assert len(text) < 1.1 * LONGEST_TRACEBACK
    assert ", in step\n" in text
    assert "\n  [... " in text
