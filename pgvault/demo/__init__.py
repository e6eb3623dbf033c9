"""The demonstration: a primary, a standby host and a vault in one directory, and the story of a lost table."""
