"""The plane of trajectories, and the losses on it against those that the cohort measures."""

import numpy as np
import pytest
import torch

from trainables.engine.landscape import loss_grid, plane
from trainables.engine.losses import SoftmaxCrossEntropy
from trainables.engine.models import MLP
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial

SHAPES = {"weight_0": (14, 5), "weight_1": (5, 7)}
POINTS = np.array([[0.0, 0.0], [2.0, 0.5], [4.0, 0.5], [5.0, -1.0], [3.0, 0.2]])


def flat(weights) -> np.ndarray:
    return np.concatenate([np.ravel(value) for value in weights.values()])


def planted(points: np.ndarray, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Snapshots at these coordinates of a plane drawn at random."""
    rng = np.random.default_rng(seed)
    size = sum(np.prod(shape) for shape in SHAPES.values())
    directions, origin = np.linalg.qr(rng.normal(size=(size, 2)))[0].T, rng.normal(size=size)
    snapshots = []
    for weights in origin + points @ directions:
        first = np.prod(SHAPES["weight_0"])
        snapshots.append(
            {
                "weight_0": weights[:first].reshape(SHAPES["weight_0"]),
                "weight_1": weights[first:].reshape(SHAPES["weight_1"]),
            }
        )
    return snapshots


def trial(**changes) -> GrokkingTrial:
    parts = {
        "task": ModularAddition(p=7, train_fraction=0.6),
        "model": MLP(hidden=(5,), dtype="float64"),
        "seeds": Seeds.all(3),
        "horizon_steps": 100,
    }
    return GrokkingTrial(**(parts | changes))


def measured(config: GrokkingTrial, weights: dict[str, np.ndarray]) -> tuple[float, float]:
    """The losses that a cohort with these weights reports."""
    cohort = config.build([config], "cpu")
    state = cohort.state_dict(0)
    state["parameters"] = {
        name: torch.from_numpy(weights[name]).to(value.dtype) for name, value in state["parameters"].items()
    }
    cohort.load_state_dict([state])
    found = cohort.measure()
    return float(found["train_loss"][0]), float(found["test_loss"][0])


def test_coordinates_and_directions():
    snapshots = planted(POINTS)
    found = plane(snapshots)
    distances = np.linalg.norm(POINTS[:, None] - POINTS[None], axis=-1)
    np.testing.assert_allclose(
        np.linalg.norm(found.coordinates[:, None] - found.coordinates[None], axis=-1), distances, atol=1e-12
    )
    basis = np.stack([flat(direction) for direction in found.directions])
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(found.coordinates.mean(0), 0, atol=1e-12)
    assert found.explained_variance.sum() == pytest.approx(1)
    assert found.explained_variance[0] > found.explained_variance[1] > 0
    variances = np.linalg.eigvalsh(np.cov(POINTS.T))[::-1]
    np.testing.assert_allclose(found.explained_variance, variances / variances.sum())
    farthest = np.abs(found.coordinates).argmax(0)
    assert (found.coordinates[farthest, [0, 1]] > 0).all()


def test_weights_at_the_coordinates():
    snapshots = planted(POINTS)
    found = plane(snapshots)
    back = found.weights(found.coordinates)
    for name, shape in SHAPES.items():
        assert back[name].shape == (len(POINTS), *shape)
        np.testing.assert_allclose(back[name], np.stack([snapshot[name] for snapshot in snapshots]), atol=1e-12)


def test_plane_against_singular_vectors():
    rng = np.random.default_rng(5)
    snapshots = [{name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()} for _ in range(9)]
    found = plane(snapshots)
    rows = np.stack([flat(snapshot) for snapshot in snapshots]).astype(np.float64)
    _, sizes, vectors = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    np.testing.assert_allclose(found.explained_variance, sizes[:2] ** 2 / (sizes**2).sum())
    for direction, vector in zip(found.directions, vectors, strict=False):
        assert abs(flat(direction) @ vector) == pytest.approx(1)
    np.testing.assert_allclose(
        (rows - flat(found.origin)) @ np.stack([flat(d) for d in found.directions]).T, found.coordinates, atol=1e-12
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"alpha": 3.0, "loss": SoftmaxCrossEntropy(dtype="float64", temperature=0.5)},
        {"model": MLP(hidden=(5,))},
    ],
    ids=["float64 weights", "alpha and temperature", "float32 weights"],
)
def test_loss_at_a_snapshot(changes):
    snapshots, config = planted(POINTS), trial(**changes)
    found = plane(snapshots)
    for snapshot, (x, y) in zip(snapshots, found.coordinates, strict=True):
        grid = loss_grid(found, config.build([config] * 2), resolution=3, extent=(x, x + 1, y, y + 1))
        train, test = measured(config, snapshot)
        assert grid.train[0, 0] == pytest.approx(train, rel=1e-6)
        assert grid.test[0, 0] == pytest.approx(test, rel=1e-6)
        assert train != pytest.approx(test, rel=1e-3)


def test_grid_is_indexed_by_y_then_x():
    found, config = plane(planted(POINTS)), trial()
    grids = [loss_grid(found, config.build([config] * members), resolution=5) for members in (1, 7)]
    for name in ("x", "y", "train", "test"):
        np.testing.assert_allclose(getattr(grids[0], name), getattr(grids[1], name), rtol=1e-12)
    grid = grids[0]
    for i, j in ((0, 4), (3, 1)):
        corner = {name: value[0] for name, value in found.weights(np.array([[grid.x[j], grid.y[i]]])).items()}
        assert (grid.train[i, j], grid.test[i, j]) == pytest.approx(measured(config, corner))
    low, high = found.coordinates.min(0), found.coordinates.max(0)
    np.testing.assert_allclose(grid.x[[0, -1]], [1.15 * low[0] - 0.15 * high[0], 1.15 * high[0] - 0.15 * low[0]])
    np.testing.assert_allclose(grid.y[[0, -1]], [1.15 * low[1] - 0.15 * high[1], 1.15 * high[1] - 0.15 * low[1]])


def test_loss_falls_on_a_runs_own_plane():
    config = trial(model=MLP(hidden=(5,)))
    cohort = config.build([config], "cpu")
    snapshots = []
    for _ in range(12):
        snapshots.append(cohort.snapshot(0))
        cohort.advance(20)
    found = plane(snapshots)
    start, end = found.coordinates[0], found.coordinates[-1]
    losses = [
        loss_grid(found, config.build([config]), resolution=1, extent=(x, x, y, y)).train[0, 0] for x, y in (start, end)
    ]
    assert losses[1] < 0.9 * losses[0]


def test_degenerate_snapshots_fail_in_one_line():
    line = np.outer(np.arange(5), [3.0, 4.0])
    for snapshots in (planted(line), planted(POINTS[:2]), [], planted(np.ones((4, 2)))):
        with pytest.raises(ValueError, match=f"^{len(snapshots)} snapshots on a line: a plane needs at least 3"):
            plane(snapshots)
    other = [*planted(POINTS), {"weight_0": np.ones((14, 5))}]
    with pytest.raises(ValueError, match=r"^snapshot 5 has parameters .* must be those of snapshot 0"):
        plane(other)
    with pytest.raises(ValueError, match=r"^the plane has parameters .*: must be those of the trial's model"):
        loss_grid(plane(planted(POINTS)), trial(model=MLP(hidden=(6,))).build([trial(model=MLP(hidden=(6,)))]))
