"""check: what backups and archiving need, looked at without changing anything, each failure with its cause and fix."""
