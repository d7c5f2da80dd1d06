"""For every test: one thread for torch, as in the workers."""

import torch

# With more, a test's tiny tensors spend their time in waiting threads, and a busy machine makes that seconds.
torch.set_num_threads(1)
