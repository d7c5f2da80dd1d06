"""The signals that end a run: Ctrl-C, ``kill``, and the end of the terminal, all in the same orderly way."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name
        self.exit_code = 128 + number
        """As shells have it."""


@contextlib.contextmanager
def raised_once() -> Iterator[None]:
    """Raise the first of these signals as :class:`Interrupted`, and ignore the others: a second Ctrl-C ends nothing
    by halves.  A signal that is ignored (``nohup``) stays ignored, and one that comes to another thread's run is the
    main thread's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    heard = [number for number in ENDING if before[number] != signal.SIG_IGN]

    def end(number: int, frame: FrameType | None) -> None:
        for other in heard:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    for number in heard:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
