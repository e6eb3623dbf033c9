#!/usr/bin/env python3
"""Makes all pictures in this directory anew, SVG, from real runs in sandboxes that are removed at the end.

    make screenshots
"""

from __future__ import annotations

import command_line
import console

if __name__ == "__main__":
    command_line.main()
    console.main()
