"""Which driver trains what: leases on trials, so that several drivers of one ledger share the work."""

from typing import TYPE_CHECKING

from pipeline.lazy import lazy_names

if TYPE_CHECKING:
    from pipeline.sharing.cohort_queue import CohortQueue
    from pipeline.sharing.lease import Lease, RunProgress, live_leases
    from pipeline.sharing.leases import Leases

__all__ = ["CohortQueue", "Lease", "Leases", "RunProgress", "live_leases"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CohortQueue": "pipeline.sharing.cohort_queue",
        "Lease": "pipeline.sharing.lease",
        "RunProgress": "pipeline.sharing.lease",
        "live_leases": "pipeline.sharing.lease",
        "Leases": "pipeline.sharing.leases",
    },
)
