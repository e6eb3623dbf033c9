"""Decoding of PostgreSQL's write-ahead log: bytes in, values out, no I/O."""
