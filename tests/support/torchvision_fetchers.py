"""Processes that fetch a set of torchvision: ``python -m tests.support.torchvision_fetchers SET COUNT``.

The addresses and checksums of the stand-in's files come as JSON on standard input; each process prints a line.
"""

import json
import multiprocessing
import sys

from trainables.data import sets as datasets
from trainables.data.folder import DataMissingError
from trainables.data.torchvision_guard import torchvision


def fetch(name: str) -> None:
    """Print the digests of both halves, or what is wrong."""
    try:
        line = " ".join(half.digest for half in getattr(datasets, name)())
    except DataMissingError as error:
        line = str(error)
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    name, count = sys.argv[1], int(sys.argv[2])
    kind = getattr(torchvision().datasets, name.upper())
    for attribute, value in json.load(sys.stdin).items():
        setattr(kind, attribute, value)
    # Forked, so that torchvision is imported once for all.
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=fetch, args=(name,)) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
