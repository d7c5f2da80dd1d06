"""The question as data: a base, axes, arms and seeds, and the file that says them."""

from pipeline.spec.objective import Objective
from pipeline.spec.settings import RunSettings
from pipeline.spec.sweep_spec import Arm, PlannedTrial, SweepSpec
from pipeline.spec.values import SpecError

__all__ = ["Arm", "Objective", "PlannedTrial", "RunSettings", "SpecError", "SweepSpec"]
