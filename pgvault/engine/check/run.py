"""Checks servers: reads their facts and evaluates the table of checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pgvault.config.schema import ServerConfig
from pgvault.engine.check.facts import ServerState
from pgvault.engine.check.server_state import probe_server
from pgvault.engine.check.table import CHECKS
from pgvault.model.check import Finding, Outcome, evaluate, overall

MOST_AT_ONCE = 256
"""Servers probed at a time; further ones wait."""


@dataclass(frozen=True, slots=True)
class Report:
    server: str
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        return overall(self.findings)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Return the failures, then the warnings, without the checks that failures block."""
        return tuple(finding for outcome in (Outcome.FAILED, Outcome.WARNING)
                     for finding in self.findings if finding.outcome is outcome)


def evaluate_checks(state: ServerState) -> Report:
    return Report(state.server.name, evaluate(CHECKS, state))


def check_servers(servers: Sequence[ServerConfig], home: Path) -> Iterator[Report]:
    """Check in the given order. It changes nothing, and raises nothing that a finding can report."""
    return map(evaluate_checks, probe_servers(servers, home))


def probe_servers(servers: Sequence[ServerConfig], home: Path) -> Iterator[ServerState]:
    """Probe all servers at the same time, so that an unreachable one does not delay the others. Results are in the
    given order."""
    with ThreadPoolExecutor(max_workers=min(max(len(servers), 1), MOST_AT_ONCE), thread_name_prefix="look") as threads:
        yield from threads.map(lambda server: probe_server(server, home), servers)
