"""I/O with the outside: PostgreSQL connections, replication, SSH, processes."""
