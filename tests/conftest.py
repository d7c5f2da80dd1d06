"""For every test: one thread for torch, as in the workers, and nothing of the user's configuration."""

import os

import torch

for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
    os.environ.pop(name, None)

# With more, a test's tiny tensors spend their time in waiting threads, and a busy machine makes that seconds.
torch.set_num_threads(1)
