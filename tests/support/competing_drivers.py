"""Drivers that ask for overlapping trials at once, hold them for a moment, and give them up."""

import random
import threading
import time

from pipeline.ledger import Ledger
from pipeline.sharing import Leases


def held_twice(ledger: Ledger, *, drivers: int, rounds: int) -> list[str]:
    """Have the drivers compete; the trials that two of them held at a time."""
    names = [f"trial{number}" for number in range(12)]
    holders: dict[str, int] = {}
    wrong: list[str] = []
    lock = threading.Lock()

    def drive(seed: int) -> None:
        choose = random.Random(seed)
        with Leases(ledger, "s") as own:
            for _ in range(rounds):
                ours = own.claim(choose.sample(names, 6))
                with lock:
                    wrong.extend(name for name in ours if holders.setdefault(name, seed) != seed)
                time.sleep(choose.random() / 100)
                with lock:
                    for name in ours:
                        holders.pop(name, None)
                own.release(ours)
                own.claim([f"own{seed}"])  # Others see at once what was given up.
                own.release([f"own{seed}"])

    threads = [threading.Thread(target=drive, args=(seed,)) for seed in range(drivers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    return wrong
