"""`python -m seas_export`."""

import sys

from seas_export.cli import main

sys.exit(main())
