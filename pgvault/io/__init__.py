"""The outside world: PostgreSQL connections, replication, SSH, processes."""
