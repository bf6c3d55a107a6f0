"""Shared by all tests: two test processes side by side must not fight over the cores."""

import os

# Read by PyTorch when it is first imported, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
