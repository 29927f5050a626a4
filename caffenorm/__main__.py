"""`python -m caffenorm` is the command line."""

import sys

from caffenorm.cli.main import main

sys.exit(main())
