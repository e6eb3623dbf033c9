"""For which directory a host's own start and stop commands are: a line such as `systemctl stop postgresql` names one
service, whichever server is meant."""

from __future__ import annotations

from pgvault.config.schema import HostConfig


def own_start(config: HostConfig | None, directory: str) -> str | None:
    """The host's own start command, where it may be for this directory: of a host with a data_directory it is for that
    one alone."""
    if config is None or (config.data_directory is not None and not _is_own(config, directory)):
        return None
    return config.start_command


def own_stop(config: HostConfig | None, *directories: str) -> str | None:
    """The host's own stop command, where it is for this directory, by any of its names: it stops whatever service it
    names, which of a host without a data_directory is not known to be this one."""
    return config.stop_command if config is not None and any(_is_own(config, each) for each in directories) else None


def _is_own(config: HostConfig, directory: str) -> bool:
    return config.data_directory is not None and config.data_directory.rstrip("/") == directory.rstrip("/")
