"""``python -m lab``."""

import sys

try:
    from lab.cli import main

    main()
except KeyboardInterrupt:
    sys.exit(130)
