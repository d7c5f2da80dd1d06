#!/usr/bin/env python3
"""What ``sbatch --array=A-B --wrap COMMAND`` of SLURM does, on this machine: one shell a task, all at once."""

import os
import re
import subprocess
import sys

(first, last), (command,) = re.fullmatch(r"--array=(\d+)-(\d+)", sys.argv[1]).groups(), sys.argv[3:]
assert sys.argv[2] == "--wrap"
tasks = [
    subprocess.Popen(["sh", "-c", command], env=os.environ | {"SLURM_ARRAY_TASK_ID": str(number)})
    for number in range(int(first), int(last) + 1)
]
sys.exit(max(task.wait() for task in tasks))
