"""``python -m tests.benchmarks``: run the benchmarks, compare them with the committed figures, name what got slower.

Each runs in a process of its own.  Its figures are ratios measured in one run; the committed ones lie in
``results/cpu_<model>.json``, one file a model of CPU, and only those of the same model are compared: products, caches
and subnormal numbers differ between models by more than any change of ours.
"""

import argparse
import ast
import datetime
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.form import HEADER, Result, machine, row_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VERSIONS = ("torch", "numpy", "pandas", "pyarrow", "ray", "mlflow")


def main(arguments: Sequence[str] | None = None, folder: Path = HERE) -> int:
    """Run, print, compare; the exit code is 1 where something got slower or failed.

    :param folder: where the benchmarks and their ``results/`` are.
    """
    known = {path.stem.removeprefix("bench_"): path for path in sorted(folder.glob("bench_*.py"))}
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(known)}; default: all")
    parser.add_argument("--list", action="store_true", help="print what there is, and run nothing")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    parser.add_argument("--save", action="store_true", help="write the figures to be committed")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"{unknown[0]}: must be one of: {', '.join(known)}")
    if options.save and options.quick:
        parser.error("--save: takes full runs, not --quick")
    selected = {name: known[name] for name in options.names or known}
    if options.list:
        for name, path in selected.items():
            print(f"{name:<20} {_first_line(path)}")
        return 0

    here = machine()
    own = folder / "results" / f"cpu_{re.sub(r'[^a-z0-9]+', '_', here['cpu'].lower()).strip('_')}.json"
    record = json.loads(own.read_text(encoding="utf-8")) if own.exists() else {"machine": here, "benchmarks": {}}
    slower, failed = [], []
    print(f"{here['cpu']}\nmedian ± interquartile range over the rounds")
    for name, path in selected.items():
        print(f"\n{name}: {_first_line(path)}", flush=True)
        began = time.perf_counter()
        results = _run(path, quick=options.quick)
        if results is None:
            failed.append(name)
            continue
        committed, source = _committed(name, own)
        print(HEADER + ("" if source in ("", own.name) else f" (of {source}: another CPU, not compared)"))
        what = ""
        for result in results:
            if result.what != what:
                what = result.what
                print(f"  {what}:")
            old = committed.get((result.what, result.name))
            change = result.change(old) if old and source == own.name else ""
            print(row_of(result, old, change))
            if old and change == "slower":
                slower.append(f"{name}: {result.what}: {result.name}: {result.value:.3g}, committed {old.value:.3g}")
        record["benchmarks"][name] = _entry(results, time.perf_counter() - began)
    if options.save and not failed:
        own.parent.mkdir(exist_ok=True)
        own.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"\nwrote {own.relative_to(folder)}")
    print(
        "\n" + ("\n".join(["slower than committed, beyond both spreads:", *slower]) if slower else "nothing is slower")
    )
    for name in failed:
        print(f"{name}: failed")
    return 1 if slower or failed else 0


def _run(path: Path, *, quick: bool) -> list[Result] | None:
    """The results of one benchmark, from a process of its own; None where it failed, with its error on stderr."""
    command = [sys.executable, str(path), "--json", *(["--quick"] if quick else [])]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    if done.returncode:
        return None
    return [Result(**json.loads(line)) for line in done.stdout.splitlines()]


def _committed(name: str, own: Path) -> tuple[dict[tuple[str, str], Result], str]:
    """The committed figures of one benchmark, and their file: this CPU's, or the latest of another one."""
    others = sorted(_records(own.parent, name), key=lambda item: item[1]["date"], reverse=True)
    for path, entry in sorted(others, key=lambda item: item[0] != own):
        return {(item["what"], item["name"]): Result(**item) for item in entry["results"]}, path.name
    return {}, ""


def _records(folder: Path, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in folder.glob("cpu_*.json"):
        benchmarks = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
        if name in benchmarks:
            yield path, benchmarks[name]


def _entry(results: Sequence[Result], seconds: float) -> dict[str, Any]:
    """What is filed of one benchmark: its figures, and with what they were measured."""
    versions = {}
    for package in VERSIONS:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "seconds": round(seconds),
        "versions": versions,
        "results": [asdict(result) for result in results],
    }


def _commit() -> str:
    """The commit that was measured, with a mark where files differ from it; empty outside a checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
