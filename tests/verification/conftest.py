"""One thread for each worker: the suite runs as many workers as there are cores."""

import torch

torch.set_num_threads(1)
