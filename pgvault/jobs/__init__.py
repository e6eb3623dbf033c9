"""Executions: the journal of each, starting one in a session of its own, finding them again."""
