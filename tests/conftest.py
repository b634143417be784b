"""What holds for all tests: torch uses one thread, so that tests do not fight over the cores."""

import torch

torch.set_num_threads(1)
