"""check: tests what backups and archiving need without changing anything; each failure has its cause and correction."""
