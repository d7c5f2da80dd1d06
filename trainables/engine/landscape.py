"""Loss landscapes on the plane that best contains trajectories of weights (Prieto et al. 2025, Fig. 7).

The plane is spanned by the two largest principal components of the snapshots of one or several runs (Li et al. 2018,
Sec. 7).  The training cohort computes the losses on it, so model, loss, α and rows are the trial's own.

Shape suffixes: N snapshots, P weights of all tensors, M points, R grid points along an axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trainables.engine.cohort import GrokkingCohort

Snapshot = Mapping[str, np.ndarray]
"""The weights of one network by name, as :meth:`trainables.engine.cohort.GrokkingCohort.snapshot` returns them."""

COLLINEAR = 1e-13
"""Below this share of the first component's variance, the second component is rounding error."""
MARGIN = 0.15
"""The margin of a grid beyond the snapshots on each side, as a share of their extent."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane in weight space; lengths on it are Euclidean distances between weights."""

    origin: dict[str, np.ndarray]
    """The mean of the snapshots, float64."""
    directions: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
    """Two orthonormal vectors (over all tensors together), that of the larger variance first; float64."""
    coordinates: np.ndarray
    """The coordinates of every snapshot's projection: (N, 2), in the order of the snapshots."""
    explained_variance: np.ndarray
    """Each direction's share of the variance of the snapshots: (2,), their sum at most 1."""

    def weights(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Return the weights at points of the plane.

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
    """The mean loss of the training rows at (x[j], y[i]): shape (R, R), indexed [i, j] as contour plots expect."""
    test: np.ndarray
    """The mean loss of the test rows, likewise."""


def plane(snapshots: Sequence[Snapshot]) -> Plane:
    """Fit the plane of the two largest principal components of snapshots with the same names and shapes.

    Each direction's sign makes the largest coordinate along it (in absolute value) positive.

    :raises ValueError: when names or shapes differ, or when the snapshots lie on a line.
    """
    shapes = [{name: np.shape(value) for name, value in snapshot.items()} for snapshot in snapshots]
    for index, other in enumerate(shapes):
        if other != shapes[0]:
            raise ValueError(f"snapshot {index} has parameters {other}: must be those of snapshot 0, {shapes[0]}")
    count = len(snapshots)
    gram_NN = np.zeros((count, count))
    for name in shapes[0] if shapes else ():
        rows_NP, _ = _centred(snapshots, name)
        gram_NN += rows_NP @ rows_NP.T
    variances, vectors_NN = np.linalg.eigh(gram_NN)  # ascending
    if count < 3 or variances[-2] <= COLLINEAR * variances[-1]:
        raise ValueError(f"{count} snapshots on a line: a plane needs at least 3 that are not on a line")
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
    """Compute the losses of a trial's rows on a grid of weights in a plane.

    The loss is the one with which the trial begins, before any intervention.

    :param cohort: copies of one trial, which gives the model (with the parameters of the plane), the loss and the rows.
        Each pass computes one point per member: more members are faster on a GPU and take more memory.
    :param resolution: the number of grid points along each axis.
    :param extent: smallest and largest x, smallest and largest y; None: the snapshots plus a margin of 15 %.
    :raises ValueError: when the model has other parameters.
    """
    members, device = len(cohort.trials), cohort.device
    example = cohort.snapshot(0)
    of_model, of_plane = ({name: value.shape for name, value in w.items()} for w in (example, plane.origin))
    if of_model != of_plane:
        raise ValueError(f"the plane has parameters {of_plane}: must be those of the trial's model, {of_model}")
    if extent is None:
        low, high = plane.coordinates.min(0), plane.coordinates.max(0)
        margin = MARGIN * (high - low)
        extent = (low[0] - margin[0], high[0] + margin[0], low[1] - margin[1], high[1] + margin[1])
    x, y = np.linspace(*extent[:2], resolution), np.linspace(*extent[2:], resolution)
    points = np.stack([grid.ravel() for grid in np.meshgrid(x, y)], axis=1)
    losses = {"train": np.empty(len(points)), "test": np.empty(len(points))}
    for start in range(0, len(points), members):
        chunk = points[start : start + members]
        # Pad the last chunk to the cohort's size with copies of its last point.
        padded = chunk[np.minimum(np.arange(members), len(chunk) - 1)]
        parameters = {
            name: torch.from_numpy(values.astype(example[name].dtype)).to(device)
            for name, values in plane.weights(padded).items()
        }
        for split, values in losses.items():
            with torch.no_grad():
                rows = cohort.evaluate(parameters, split)
            values[start : start + members] = rows.losses_KB.double().mean(1).cpu().numpy()[: len(chunk)]
    shape = (resolution, resolution)
    return LossGrid(x, y, losses["train"].reshape(shape), losses["test"].reshape(shape))


def _centred(snapshots: Sequence[Snapshot], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Center one tensor over the snapshots: return (N, P of this tensor) and its mean (P of this tensor,), float64."""
    rows_NP = np.stack([np.ravel(snapshot[name]) for snapshot in snapshots]).astype(np.float64)
    mean_P = rows_NP.mean(0)
    return rows_NP - mean_P, mean_P
