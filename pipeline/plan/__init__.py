"""What is left to run: a sweep's trials minus what the ledger has, packed into cohorts."""

from pipeline.plan.planning import CohortPlan, Plan, make_plan

__all__ = ["CohortPlan", "Plan", "make_plan"]
