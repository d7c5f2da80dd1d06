"""Random rows, and random bytes in any file: always the right answer, or one clear line."""

import json
import math
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.ledger import Checkpoint, Ledger, LedgerError, Snapshot, weights_of
from pipeline.ledger.__main__ import main
from tests.support.ledger_samples import archive, commit_steps, record, trajectory, trial_row
from tests.support.sweep_runs import contents
from trainables.engine.errors import one_line

bounded = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(max_size=5), items, max_size=3),
    max_leaves=6,
)
FIELDS = ("name", "trial_ids", "coordinates_json", "axes_json", "doc", "horizon_steps", "recorded_at")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A ledger with a file of every kind, by the content of its files."""
    ledger = Ledger.open(str(tmp_path_factory.mktemp("whole") / "ledger"), create=True)
    commit_steps(ledger, "a1", range(30), "finished")
    commit_steps(ledger, "b1", range(20), "finished")
    ledger.compact()
    data = archive("weights")
    kept = Checkpoint(trial_id="c1", step=9, data=data), Snapshot(trial_id="c1", step=9, data=data)
    ledger.commit([trial_row("c1", 9)], trajectory("c1", range(10)), [kept[0]], [kept[1]])
    record(ledger, "some", ["a1", "b1", "c1"])
    assert ledger.verify() == []
    return ledger


def files(ledger):
    root = Path(ledger.uri)
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def weights(ledger):
    try:
        return {(step, *each) for step, data in ledger.snapshots("c1").items() for each in shown(weights_of(data))}
    except ValueError as error:
        raise LedgerError(one_line(error)) from None


def shown(arrays):
    return [(name, array.tobytes()) for name, array in arrays.items()]


def answers(uri):
    """What every way to read a ledger gives, or the line with which it ends; nothing else may be raised."""
    found = []
    for ask in (
        lambda ledger: contents(ledger.uri),
        lambda ledger: ledger.sweep("some").trial_ids,
        lambda ledger: ledger.checkpoint("c1"),
        weights,
        lambda ledger: ledger.sizes().keys(),
        lambda ledger: [str(problem) for problem in ledger.verify()],
    ):
        try:
            found.append(ask(Ledger.open(uri)))
        except LedgerError as error:
            assert str(error).isprintable()  # noqa: PT017
            found.append(error)
    return found


@st.composite
def damages(draw, content):
    """Other bytes in the place of some, fewer, or more."""
    start = draw(st.integers(0, len(content) - 1))
    end = draw(st.sampled_from([start, start + 1, min(start + 8, len(content)), len(content)]))
    return content[:start] + draw(st.binary(min_size=end == start, max_size=9)) + content[end:]


@bounded
@given(st.data())
def test_random_bytes_in_any_file(whole, tmp_path_factory, capsys, data):
    good = files(whole)
    name = data.draw(st.sampled_from(sorted(good)))
    bad = data.draw(damages(good[name]))
    folder = tmp_path_factory.mktemp("damaged") / "ledger"
    shutil.copytree(whole.uri, folder)
    Path(folder, name).write_bytes(bad)
    right, found = answers(whole.uri), answers(str(folder))
    if found[-1] == []:  # verify has nothing to say: the rows and the weights are those that were stored
        assert found[0] == right[0]
        assert found[3] == right[3]
    for verb in (["list"], ["compact"], ["drop", "some"]):
        code = main([*verb, "--ledger", str(folder)])
        printed = capsys.readouterr()
        assert (code == 2) == (printed.err.count("\n") == 1)
        assert code in (0, 2)
    shutil.rmtree(folder.parent)


@bounded
@given(
    field=st.sampled_from(["name", "trial_ids", "coordinates_json", "axes_json", "doc", "horizon_steps"]),
    value=ANYTHING,
)
def test_random_values_in_a_sweep(whole, tmp_path_factory, field, value):
    folder = tmp_path_factory.mktemp("sweep") / "ledger"
    shutil.copytree(whole.uri, folder)
    path = folder / "sweeps" / "some.json"
    text = json.dumps(value) if field.endswith("_json") else value
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: text}))
    found = answers(str(folder))
    assert found[0] == answers(whole.uri)[0]
    assert isinstance(found[1], LedgerError) == bool(found[-1])
    shutil.rmtree(folder.parent)


CELLS = st.none() | st.floats(allow_nan=True) | st.sampled_from([0.95, math.inf, -0.0])
ROWS = st.dictionaries(st.sampled_from(["a", "b.c", "D-e"]), st.lists(CELLS, min_size=1, max_size=12), min_size=1)


@bounded
@given(rows=ROWS, pieces=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12)), max_size=4), compact=st.booleans())
def test_random_rows_come_back(tmp_path_factory, rows, pieces, compact):
    """Committed whole and in overlapping pieces: every row once, bit for bit."""
    folder = tmp_path_factory.mktemp("rows")
    ledger = Ledger.open(str(folder), create=True)
    for trial_id, cells in rows.items():
        for start, stop in [*pieces, (0, len(cells))]:
            steps = range(start, min(stop, len(cells)))
            if steps:
                columns = {"trial_id": [trial_id] * len(steps), "step": list(steps), "x": [cells[s] for s in steps]}
                ledger.commit([trial_row(trial_id, steps[-1])], columns)
        if compact:
            ledger.compact()
    table = ledger.trajectories().to_pydict()
    expected = [(name, step, repr(cell)) for name in sorted(rows) for step, cell in enumerate(rows[name])]
    assert list(zip(table["trial_id"], table["step"], map(repr, table["x"]), strict=True)) == expected
    assert [problem for problem in ledger.verify() if problem.kind != "stray"] == []
    shutil.rmtree(folder)
