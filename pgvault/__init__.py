"""pgvault: a recovery console for PostgreSQL."""

__version__ = "0.2.0"
