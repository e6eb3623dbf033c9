"""Pure values and rules, standard library only: what the rest of pgvault speaks in."""
