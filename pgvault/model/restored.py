"""A server that a restore made and started, as recorded in the restore's plan."""

from __future__ import annotations

from dataclasses import dataclass

from pgvault.model.restore_plan import Listening, RestorePlan, SettingChange


@dataclass(frozen=True, slots=True)
class RestoredCopy:
    server: str
    """The configured server of which this is a copy."""
    host: str
    """The configured name; empty for this machine."""
    directory: str
    major: int
    listens: Listening | None = None
    port: int | None = None
    """The port it was given; None for the host's default, or else the one in its configuration."""
    tablespaces: tuple[str, ...] = ()
    """Tablespace directories outside the data directory."""
    databases: tuple[str, ...] = ()
    """Some databases that it is known to have."""
    timeline: int = 0
    """The timeline that its recovery followed."""
    standby: bool = False
    settings_changed: tuple[SettingChange, ...] = ()
    job: str = ""
    """The job that restored it."""
    backup: str = ""
    """The id of the restored backup."""
    original: str = ""
    """The data directory of the server when it was backed up."""
    is_whole: bool = True
    """Everything was written. Else only what bears the restore's mark is known to be its own."""

    @property
    def place(self) -> str:
        return f"{self.host or 'this machine'}:{self.directory}"

    @property
    def places(self) -> tuple[str, ...]:
        return self.directory, *self.tablespaces

    @property
    def called(self) -> str:
        return f"the restored server of job {self.job}"


def copy_of(plan: RestorePlan, job: str = "") -> RestoredCopy:
    backup, destination = plan.source.backup, plan.destination
    return RestoredCopy(
        plan.server, destination.host, destination.directory, backup.major, plan.configuration.listens,
        destination.port, tuple(space.location for space in destination.placed),
        tuple(dict.fromkeys(each.database for each in destination.expects)), plan.point.timeline, plan.point.standby,
        plan.configuration.settings_changed, job, backup.id, backup.data_directory)
