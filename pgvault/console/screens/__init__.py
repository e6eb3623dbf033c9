"""The console's screens, one file each; `view` has what they share."""
