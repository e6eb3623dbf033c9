"""The console: one terminal application over all servers, backups, WAL, jobs and recoveries.

It does none of the work itself. What changes something, and what asks a server or a host, is a `pgvault` command in a
process of its own (`commands`), the same that a person would type; what the vault knows is read by the engine's queries
(`queries`); jobs are followed by their journals. Closing the console ends nothing else.

Only `start` may be imported from outside: it sets up the environment before Textual reads it.
"""
