"""The console's screens: one file each. `view` is what they have in common."""
