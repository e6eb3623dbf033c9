"""Reports an error of the command line: on standard error, in the log, and as the exit code of its class."""

from __future__ import annotations

from collections.abc import Sequence

from pgvault.cli.context import Context
from pgvault.model.errors import Cancelled, PgvaultError

_BROKEN_PIPE = 141
"""128 + SIGPIPE, as for any other program whose reader has gone."""


def report_failure(error: BaseException, context: Context, words: Sequence[str], *, server: str = "") -> int:
    """Report an error on standard error and in the log, with the server if it is one of several. Return the exit
    code."""
    from pgvault.jobs.failures import error_to_report

    error = error_to_report(error, "complete the command") if not isinstance(error, BrokenPipeError) else error
    if isinstance(error, BrokenPipeError):
        context.out.forget()
        return _BROKEN_PIPE
    if isinstance(error, KeyboardInterrupt):
        error = Cancelled("cancelled")
    internal = not isinstance(error, PgvaultError)
    failure = error if isinstance(error, PgvaultError) else _internal(error, context)
    code = "internal" if internal else failure.code
    if server:
        failure.message = f"{server}: {failure.message}"
    _print(failure, context, code)
    if context.hold:
        from pgvault.jobs.detach import fail_before_begin

        fail_before_begin(context.hold, failure, code)
    if context.has_config:
        _log(failure, error if internal else None, context, words)
    if internal and context.debug:
        from traceback import format_exception

        context.err.lines("".join(format_exception(error)))
    return failure.exit_code


def _internal(error: BaseException, context: Context) -> PgvaultError:
    log = context.config.vault.log_file if context.has_config else None
    hint = f"The details are in {log}." if log else "Run it again with --log-level debug for the details."
    return PgvaultError("internal error", detail=f"{type(error).__name__}: {error}", hint=hint)


def _print(failure: PgvaultError, context: Context, code: str) -> None:
    from pgvault.model.secrets import masked

    message, detail, hint = map(masked, (failure.message, failure.detail, failure.hint))
    if context.json:
        context.err.json({"error": {"code": code, "message": message, "detail": detail, "hint": hint,
                                    "exit_code": failure.exit_code}})
        return
    for name, text, style in (("pgvault", message, "bad"), ("detail", detail, "bold"), ("hint", hint, "bold")):
        for i, line in enumerate(text.splitlines()):
            lead = context.err.paint(f"{name}: ", style) if i == 0 else " " * (len(name) + 2)
            context.err.line(lead, line)


def _log(failure: PgvaultError, cause: BaseException | None, context: Context, words: Sequence[str]) -> None:
    import shlex

    from pgvault.cli.log import open_log

    open_log(context).error("pgvault %s: %s %s", shlex.join(words), failure.message, failure.detail, exc_info=cause)
