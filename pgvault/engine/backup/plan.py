"""Plans a backup from a server's settings and the user's options."""

from __future__ import annotations

from pgvault.config.schema import ServerConfig
from pgvault.model.backup_plan import BackupPlan


def plan_backup(server: ServerConfig, *, name: str = "", full: bool = False, immediate_checkpoint: bool | None = None,
                workers: int | None = None, bandwidth_limit: int | None = None, wait_lock: bool = False) -> BackupPlan:
    """Plan a backup. Options that are None come from the server's settings; `bandwidth_limit` is in bytes per second.
    """
    return BackupPlan(
        server=server.name, name=name, full=full,
        immediate_checkpoint=server.immediate_checkpoint if immediate_checkpoint is None else immediate_checkpoint,
        workers=workers or server.parallel_jobs, bandwidth_limit=bandwidth_limit or server.bandwidth_limit,
        compression_level=server.compression_level, retry_times=server.basebackup_retry_times,
        retry_seconds=server.basebackup_retry_sleep.total_seconds(), wait_lock=wait_lock)
