"""Gives the command line of a test one more verb, `work`, whose job does what the test asks it to."""

from pgvault.cli.verbs import VERBS, Verb

VERBS["work"] = Verb("work_verb", "a job for tests")
