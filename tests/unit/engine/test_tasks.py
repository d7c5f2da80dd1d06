"""The tasks on pairs, and parity: rows by brute force, splits, encodings, wrong labels, pinned fingerprints."""

import itertools
import math

import numpy as np
import pytest

from trainables.engine.config import ConfigError
from trainables.engine.encodings import Binary, OneHot, RandomBinary, Scalar, Tokens
from trainables.engine.tasks import (
    ModularAddition,
    ModularDivision,
    ModularMultiplication,
    ModularSubtraction,
    ModularSumOfSquares,
)
from trainables.engine.tasks_parity import SparseParity
from trainables.engine.trial import Seeds

DEFINITIONS = [
    (ModularAddition, lambda a, b, c, p: (a + b - c) % p == 0),
    (ModularSubtraction, lambda a, b, c, p: (a - b - c) % p == 0),
    (ModularMultiplication, lambda a, b, c, p: (a * b - c) % p == 0),
    (ModularSumOfSquares, lambda a, b, c, p: (a * a + b * b - c) % p == 0),
    (ModularDivision, lambda a, b, c, p: b > 0 and (b * c - a) % p == 0),
]
ENCODINGS = [OneHot(), Tokens(), Binary(), RandomBinary(), RandomBinary(bits=4, seed=3), Scalar()]


def both_halves(split):
    return (split.train_inputs, split.train_labels), (split.test_inputs, split.test_labels)


@pytest.mark.parametrize(("task", "holds"), DEFINITIONS, ids=lambda found: getattr(found, "__name__", ""))
@pytest.mark.parametrize("p", [2, 13])
def test_pairs_and_labels(task, holds, p):
    config = task(p=p, train_fraction=0.5, inputs=Tokens())
    split = config.split(Seeds.all(3))
    seen = []
    for inputs, labels in both_halves(split):
        assert inputs.dtype == labels.dtype == np.int64
        for (a, b), label in zip(inputs.tolist(), labels.tolist(), strict=True):
            assert 0 <= label < config.classes
            assert holds(a, b, label, p)
            seen.append((a, b))
    first_b = 1 if task is ModularDivision else 0
    assert sorted(seen) == [(a, b) for a in range(p) for b in range(first_b, p)]
    assert (config.train_rows, config.test_rows) == (len(split.train_labels), len(split.test_labels))
    assert config.train_rows == math.floor(0.5 * len(seen))


@pytest.mark.parametrize("p", [4, 9, 15, 121])
def test_division_needs_a_prime(p):
    with pytest.raises(ConfigError, match=rf"^ModularDivision\.p = {p}: is \d+ \* \d+; must be prime.*$"):
        ModularDivision(p=p)
    assert ModularSumOfSquares(p=p).classes == p


@pytest.mark.parametrize("inputs", ENCODINGS, ids=lambda found: type(found).__name__)
def test_encodings_are_invertible(inputs):
    p = 13
    config = ModularSubtraction(p=p, train_fraction=0.5, inputs=inputs)
    split = config.split(Seeds.all(1))
    assert config.input_kind == inputs.input_kind
    for rows in (split.train_inputs, split.test_inputs):
        assert rows.shape[1] == config.active_features
        if config.input_kind == "dense":
            assert rows.dtype == np.float32
            assert config.active_features == config.features
        else:
            assert rows.dtype == np.int64
            assert 0 <= rows.min() <= rows.max() < config.features
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(p), np.arange(p), indexing="ij"))
    rows = inputs.rows(a, b, p)
    assert len(np.unique(rows, axis=0)) == p * p
    halves = np.split(rows, 2, axis=1)
    for half, number in zip(halves, (a, b), strict=True):
        words = [half[number == value] for value in range(p)]
        assert all((word == word[0]).all() for word in words), "a number's code depends on nothing else"


def test_codes():
    p = 113
    numbers, nought = np.arange(p), np.zeros(p, dtype=np.int64)
    binary = Binary().rows(numbers, nought, p)
    assert binary.shape == (p, 14)
    assert [int("".join(str(int(bit)) for bit in row), 2) for row in binary[:, :7]] == numbers.tolist()
    scalar = Scalar().rows(numbers, numbers, p).astype(np.float64)
    assert scalar.shape == (p, 2)
    np.testing.assert_allclose(scalar.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(scalar.std(0), 1, rtol=1e-6)
    assert np.ptp(np.diff(scalar[:, 0])) < 1e-5
    random, other = (RandomBinary(seed=seed).rows(numbers, numbers, p) for seed in (0, 1))
    assert random.shape == (p, 28)
    assert set(np.unique(random)) == {0, 1}
    assert random.mean() == pytest.approx(0.5, abs=0.05)
    assert (random != other).any()
    np.testing.assert_array_equal(random[:, :14], random[:, 14:])


def test_too_few_bits_fail_in_one_line():
    with pytest.raises(
        ConfigError, match=r"^RandomBinary\.bits = 6: gives 64 bit strings, fewer than p = 113; .*at least 7$"
    ):
        ModularAddition(inputs=RandomBinary(bits=6))
    assert ModularAddition(p=64, inputs=RandomBinary(bits=6)).features == 12


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 1.0])
@pytest.mark.parametrize("p", [2, 11])
def test_corrupted_labels(share, p):
    true = ModularAddition(p=p, train_fraction=0.5)
    seeds = Seeds(split=4, order=9)
    clean, wrong = true.split(seeds), true.replace(label_corruption=share).split(seeds)
    for name in ("train_inputs", "test_inputs", "test_labels"):
        np.testing.assert_array_equal(getattr(clean, name), getattr(wrong, name))
    changed = clean.train_labels != wrong.train_labels
    assert changed.sum() == math.floor(share * true.train_rows + 1e-9)
    assert 0 <= wrong.train_labels.min() <= wrong.train_labels.max() < p
    # Another order of the same rows has the same wrong labels.
    reordered = true.replace(label_corruption=share).split(seeds.replace(order=10))
    assert pairs_with_labels(wrong) == pairs_with_labels(reordered)


def pairs_with_labels(split):
    return {(*row, label) for row, label in zip(split.train_inputs.tolist(), split.train_labels.tolist(), strict=True)}


def test_wrong_labels_nest_and_spread():
    task, seeds = ModularAddition(p=31, train_fraction=0.9), Seeds.all(0)
    clean = task.split(seeds).train_labels
    some, more = (task.replace(label_corruption=share).split(seeds).train_labels for share in (0.2, 0.9))
    assert (more[some != clean] == some[some != clean]).all()
    counts = np.bincount((more - clean) % 31, minlength=31)
    assert counts[0] == len(clean) - math.floor(0.9 * len(clean))
    # 777 draws among 30 classes: chi-squared with 29 degrees of freedom stays below 59 in 999 of 1000 cases.
    expected = counts[1:].sum() / 30
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 59


@pytest.mark.parametrize(
    ("task", "fingerprint"),
    [
        (ModularAddition(), "c639bc4f781f5329cb18"),
        (ModularSubtraction(p=11, train_fraction=0.6), "0ea84e3304bf31bf6b30"),
        (ModularMultiplication(p=13), "ea36e6aeb47e91ae79b7"),
    ],
    ids=lambda found: type(found).__name__,
)
def test_rows_are_pinned(task, fingerprint):
    assert task.fingerprint(Seeds(split=3, order=5)) == fingerprint
    assert set(task.identity()) <= {"class", "p", "train_fraction"}


def test_fingerprint():
    base = ModularAddition(p=13)
    tasks = [base.replace(inputs=inputs) for inputs in ENCODINGS] + [base.replace(label_corruption=0.1)]
    assert len({task.fingerprint(Seeds()) for task in tasks}) == len(tasks)


@pytest.mark.parametrize(("bits", "rows"), [(43, 2000), (64, 500), (17, 50_000), (5, 32), (3, 4)])
def test_parity_rows(bits, rows):
    task = SparseParity(bits=bits, relevant=3, rows=rows)
    split = task.split(Seeds.all(2))
    assert (len(split.train_labels), len(split.test_labels)) == (task.train_rows, task.test_rows) == (rows // 2,) * 2
    seen = set()
    for inputs, labels in both_halves(split):
        assert inputs.shape[1] == task.features == bits
        assert inputs.dtype == np.float32
        assert set(np.unique(inputs)) <= {0, 1}
        for row, label in zip(inputs[:300].tolist(), labels[:300].tolist(), strict=True):
            assert label == (row[0] != (row[1] != row[2]))
        seen |= set(map(bytes, inputs.astype(np.uint8)))
    assert len(seen) == rows
    if bits == 5:
        assert seen == set(map(bytes, itertools.product((0, 1), repeat=5)))


def test_parity_rows_are_fair_and_seeded():
    task = SparseParity()
    one, two = task.split(Seeds.all(0)), task.split(Seeds.all(1))
    inputs = np.concatenate([one.train_inputs, one.test_inputs])
    # Standard error of a column's mean: .5 / sqrt(2000) = .011.
    np.testing.assert_allclose(inputs.mean(0), 0.5, atol=0.06)
    assert np.abs(np.corrcoef(inputs.T) - np.eye(43)).max() < 0.12
    assert (one.train_inputs != two.train_inputs).any()
    reordered = task.split(Seeds(split=0, order=5))
    np.testing.assert_array_equal(np.sort(one.train_inputs, axis=0), np.sort(reordered.train_inputs, axis=0))
    assert (one.train_inputs != reordered.train_inputs).any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bits": 2}, "relevant = 3: must be at most bits = 2"),
        ({"bits": 4, "rows": 17}, r"rows = 17: must be at most 2\*\*bits = 16"),
        ({"rows": 4, "train_fraction": 0.1}, "train_fraction = 0.1: leaves no training or no test row"),
    ],
)
def test_bad_parity_fails(fields, message):
    with pytest.raises(ConfigError, match=rf"^SparseParity\.{message}"):
        SparseParity(**fields)
