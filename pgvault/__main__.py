"""`python -m pgvault` is `pgvault`."""

import sys

from pgvault.cli.main import main

sys.exit(main())
