"""Shared by all tests: two test processes side by side must not fight over the cores."""

import os
import tempfile

# Read by PyTorch when it is first imported, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if "XDG_DATA_HOME" not in os.environ:  # a person's own seal of engines is none of the tests' business
    _data = tempfile.TemporaryDirectory(prefix="seas-data-")
    os.environ["XDG_DATA_HOME"] = _data.name
