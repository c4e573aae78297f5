"""`python -m tui` is `commtui`."""

import sys

from tui.cli import main

sys.exit(main())
