"""With any component in it a step stays a pure tensor program, so that a GPU can replay it as a graph."""

import pytest

from tests.contract.test_components import COMPONENTS, example, small_trial
from tests.host_reads import HostReads
from trainables.engine.trial import Seeds


@pytest.mark.parametrize("cls", COMPONENTS, ids=lambda cls: cls.__name__)
def test_a_step_reads_nothing_back_and_is_the_same_operations_every_time(cls):
    trials = [small_trial(example(cls)).replace(seeds=Seeds.all(seed)) for seed in range(3)]
    cohort = trials[0].build(trials, "cpu")
    cohort.advance(5)  # past the step at which an example's intervention sets in
    runs = []
    for _ in range(3):
        with HostReads() as reads:
            cohort.advance(1)
        runs.append(reads.operations)
        cohort.retire([0])
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0]) > 20
