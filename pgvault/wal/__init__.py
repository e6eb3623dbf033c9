"""Reading PostgreSQL's write-ahead log: bytes in, values out, no input or output."""
