"""Loss landscapes on the plane in which trajectories of weights mostly lie (Prieto et al. 2025, Fig. 7).

The plane is that of the two largest principal components of the snapshots of one or several runs (Li et al. 2018,
Sec. 7); the losses on it are computed by the cohort that trains, so with the trial's own model, loss, α and rows.

Shape suffixes: N snapshots, P weights of all tensors, M points, R grid points along an axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trainables.engine.cohort import GrokkingCohort

Snapshot = Mapping[str, np.ndarray]
"""The weights of one network by name, as :meth:`trainables.engine.cohort.GrokkingCohort.snapshot` gives them."""

LINE = 1e-13
"""Where the second component has less than this share of the first's variance it is rounding."""
MARGIN = 0.15
"""How much of a grid lies beyond the snapshots on each side, as a share of their extent."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane in the space of the weights; lengths on it are Euclidean distances between weights."""

    origin: dict[str, np.ndarray]
    """The mean of the snapshots, float64."""
    directions: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
    """Two orthonormal vectors (over all tensors together), the one of the larger variance first; float64."""
    coordinates: np.ndarray
    """Of every snapshot's projection: (N, 2), in the order in which they were given."""
    explained_variance: np.ndarray
    """Each direction's share of the variance of the snapshots: (2,), their sum at most 1."""

    def weights(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """The weights at points of the plane.

        :param points: coordinates, shape (M, 2).
        :returns: by name, shape (M, *shape of the parameter), float64.
        """
        x, y = self.directions
        return {
            name: origin + np.tensordot(points, np.stack([x[name], y[name]]), axes=1)
            for name, origin in self.origin.items()
        }


@dataclass(frozen=True, eq=False)
class LossGrid:
    """Mean losses on a grid of points of a plane."""

    x: np.ndarray
    """First coordinates: (R,)."""
    y: np.ndarray
    """Second coordinates: (R,)."""
    train: np.ndarray
    """The mean loss of the training rows at (x[j], y[i]): shape (R, R), indexed [i, j] as a contour plot wants it."""
    test: np.ndarray
    """The mean loss of the test rows, likewise."""


def plane(snapshots: Sequence[Snapshot]) -> Plane:
    """The plane of the two largest principal components of snapshots with the same names and shapes.

    The sign of a direction is such that the snapshot that is farthest out along it has a positive coordinate.

    :raises ValueError: when they do not have the same names and shapes, or lie on a line.
    """
    shapes = [{name: np.shape(value) for name, value in snapshot.items()} for snapshot in snapshots]
    for place, found in enumerate(shapes):
        if found != shapes[0]:
            raise ValueError(f"snapshot {place} has parameters {found}: they must be those of snapshot 0, {shapes[0]}")
    count = len(snapshots)
    gram_NN = np.zeros((count, count))
    for name in shapes[0] if shapes else ():
        rows_NP, _ = _centred(snapshots, name)
        gram_NN += rows_NP @ rows_NP.T
    variances, vectors_NN = np.linalg.eigh(gram_NN)  # ascending
    if count < 3 or variances[-2] <= LINE * variances[-1]:
        raise ValueError(f"{count} snapshots on a line: a plane needs at least 3 that are not")
    coordinates = vectors_NN[:, [-1, -2]] * np.sqrt(variances[[-1, -2]])
    farthest = np.take_along_axis(coordinates, np.abs(coordinates).argmax(0, keepdims=True), axis=0)
    coordinates = coordinates * np.sign(farthest)
    origin: dict[str, np.ndarray] = {}
    directions: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    for name, shape in shapes[0].items():
        rows_NP, mean_P = _centred(snapshots, name)
        origin[name] = mean_P.reshape(shape)
        for axis, direction in enumerate(directions):
            # v = Xᵀu / sqrt(variance), where X u has the coordinates sqrt(variance) u.
            direction[name] = (coordinates[:, axis] @ rows_NP / variances[-1 - axis]).reshape(shape)
    return Plane(origin, directions, coordinates, variances[[-1, -2]] / variances.sum())


def loss_grid(
    plane: Plane,
    cohort: GrokkingCohort,
    *,
    resolution: int = 25,
    extent: tuple[float, float, float, float] | None = None,
) -> LossGrid:
    """The losses of a trial's rows at a grid of weights on a plane.

    An intervention does not count: the loss is the one that the trial begins with.

    :param cohort: copies of one trial, whose model must have the parameters of the plane and whose task and seeds say
        which rows there are; as many points are computed at once, more is faster on a GPU and takes more memory.
    :param resolution: grid points along each axis.
    :param extent: the smallest and largest x, the smallest and largest y; without, the snapshots and 15 % around.
    :raises ValueError: when the model has other parameters.
    """
    members, device = len(cohort.trials), cohort.device
    example = cohort.snapshot(0)
    wanted, there = ({name: value.shape for name, value in weights.items()} for weights in (example, plane.origin))
    if wanted != there:
        raise ValueError(f"the plane has parameters {there}: the trial's model has {wanted}")
    if extent is None:
        low, high = plane.coordinates.min(0), plane.coordinates.max(0)
        around = MARGIN * (high - low)
        extent = (low[0] - around[0], high[0] + around[0], low[1] - around[1], high[1] + around[1])
    x, y = np.linspace(*extent[:2], resolution), np.linspace(*extent[2:], resolution)
    points = np.stack([grid.ravel() for grid in np.meshgrid(x, y)], axis=1)
    losses = {"train": np.empty(len(points)), "test": np.empty(len(points))}
    for start in range(0, len(points), members):
        here = points[start : start + members]
        # The last few points are filled up to a cohort with copies of the last one.
        filled = here[np.minimum(np.arange(members), len(here) - 1)]
        parameters = {
            name: torch.from_numpy(values.astype(example[name].dtype)).to(device)
            for name, values in plane.weights(filled).items()
        }
        for split, values in losses.items():
            with torch.no_grad():
                rows = cohort.evaluate(parameters, split)
            values[start : start + members] = rows.losses_KB.double().mean(1).cpu().numpy()[: len(here)]
    shape = (resolution, resolution)
    return LossGrid(x, y, losses["train"].reshape(shape), losses["test"].reshape(shape))


def _centred(snapshots: Sequence[Snapshot], name: str) -> tuple[np.ndarray, np.ndarray]:
    """One tensor of all snapshots about its mean: (N, P of this tensor) and (P of this tensor,), float64."""
    rows_NP = np.stack([np.ravel(snapshot[name]) for snapshot in snapshots]).astype(np.float64)
    mean_P = rows_NP.mean(0)
    return rows_NP - mean_P, mean_P
