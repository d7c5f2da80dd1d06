"""In the place of Ray's process: joins, takes a cohort, and ends as Ray does when its daemons are gone."""

import sys
from multiprocessing.connection import Connection

from pipeline.execution.ray_process import Joined, Next

driver = Connection(int(sys.argv[1]))
start = driver.recv()
driver.send(Joined(2.0, 0.0))
driver.recv()
driver.send(Next())
driver.recv()
sys.exit(1)
