"""Explains why a host cannot be reached by ssh."""

from __future__ import annotations

import socket

import asyncssh

from pgvault.model.errors import ConfigError, PgvaultError, Refused, Unreachable


def cannot_connect(error: Exception, where: str, login: str) -> PgvaultError:
    """Return the error for a failed login. `login` is the equivalent ssh command line."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable) and "revoked" in str(error):
        return Unreachable(f"THE HOST KEY OF {where} IS REVOKED: not connected",
                           detail="known_hosts marks the key that it shows as @revoked: anyone who has it may pose as "
                                  "the host.",
                           hint="Ask the administrator of the host. It needs a new key: accept that one, and keep the "
                                "@revoked line.")
    cause, detail, hint = _connect_cause(error, login)
    if isinstance(error, asyncssh.ConfigParseError):
        return ConfigError(f"could not read ssh's configuration: {error}", hint="Correct ~/.ssh/config.")
    return Unreachable(f"could not log in to {where}: {cause}", detail=detail, hint=hint)


def connection_lost(error: Exception | None, where: str) -> Unreachable:
    reason = f"The reason: {error}." if error and str(error) else ""
    return Unreachable(f"lost the connection to {where}", detail=reason,
                       hint="Check that the host and the network are up, then run this again.")


def no_answer(where: str, seconds: float) -> Unreachable:
    return Unreachable(f"could not start a command on {where}", detail=f"No answer came in {seconds:.0f} seconds.",
                       hint="See whether the host is overloaded or its storage hangs.")


def no_channel(error: Exception, where: str) -> Unreachable:
    return Unreachable(f"could not start a command on {where}", detail=f"The ssh server reports: {error}.",
                       hint="Its MaxSessions may be too low, or its configuration forbids commands.")


def no_terminal(error: Exception, where: str) -> Refused:
    return Refused(f"the ssh server on {where} allocates no terminal", detail=f"It reports: {error}.",
                   hint="Allow it there (PermitTTY yes, no no-pty in authorized_keys), or run the command there.")


def not_forwarded(error: Exception, where: str, to: str) -> Unreachable:
    """Return the error of a refused forwarding. OpenSSH answers the same for a Unix socket on which nothing listens and
    for one to which it may not forward.
    """
    setting = "AllowStreamLocalForwarding" if to.startswith("/") else "AllowTcpForwarding"
    return Unreachable(f"the ssh server on {where} does not forward to {to}: its sshd_config has DisableForwarding or "
                       f"{setting} no, its authorized_keys restrict, or PostgreSQL does not listen there",
                       detail=f"The ssh server reports: {error}.",
                       hint=f"Allow it there ({setting} yes), or name a conninfo for the host in the configuration. "
                            "Where the host has PostgreSQL's psql, only bring-back needs either.")


def no_shell(where: str, output: str) -> Unreachable:
    return Unreachable(f"the login on {where} does not run commands",
                       detail=f"Instead of a shell it printed: {output}" if output else "It ended without any output.",
                       hint="Give the user a login shell, and remove a ForceCommand or a command= in authorized_keys.")


def _connect_cause(error: Exception, login: str) -> tuple[str, str, str]:
    """Return cause, detail and hint."""
    text = str(error)
    match error:
        case asyncssh.PermissionDenied():
            return ("authentication failed", f"The ssh server accepted none of the keys offered. It reports: {text}.",
                    f"Make this work without a question first: {login}. A key with a passphrase must be in the "
                    "agent (ssh-add).")
        case asyncssh.HostKeyNotVerifiable():
            return ("its host key is not trusted", f"{text}.", f"See the output of: {login}")
        case asyncssh.KeyExchangeFailed():
            return "no common algorithms", f"{text}.", f"See the output of: {login}"
        case asyncssh.ProtocolNotSupported() | asyncssh.ProtocolError():
            return "no ssh server answers there", f"{text}.", "Check the host and the port."
        case asyncssh.KeyImportError() | asyncssh.KeyEncryptionError():
            return "the identity file cannot be used", f"{text}.", "Use a private key created by ssh-keygen."
        case asyncssh.ChannelOpenError():
            return "the jump host cannot reach it", f"{text}.", f"See the output of: {login}"
        case asyncssh.DisconnectError():
            return ("the ssh server closed the connection", f"{text}." if text else "",
                    "The log of the ssh server has the reason: MaxStartups, AllowUsers, a full disk.")
        case socket.gaierror():
            return "its name is unknown", f"{error.strerror}.", "Check the name, or use an address."
        case ConnectionRefusedError():
            return "connection refused", "Nothing listens there.", "Check the port, and that the ssh server runs."
        case TimeoutError():
            return "no answer in time", "", "Check that the host is up, the network and the firewalls."
        case OSError():
            return (error.strerror or text).lower(), f"{text}.", "Check the address, the network and the firewalls."
    return "the settings cannot be used", f"{text}.", f"See the output of: {login}"
