"""Parsing of libpq connection strings, far enough to refuse typing errors and secrets.

psycopg could do this, but takes longer to import than `archive_command` should take. The two forms follow libpq's
`conninfo_parse` and `conninfo_uri_parse` (src/interfaces/libpq/fe-connect.c; PostgreSQL documentation, 34.1.1). No
error repeats a part of the text that could be a password.
"""

from __future__ import annotations

import re

from pgvault.config.problems import BadValue, nearest

SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})
KEYWORDS = SECRETS | frozenset((
    "application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname",
    "fallback_application_name", "gssdelegation", "gssencmode", "gsslib", "host", "hostaddr", "keepalives",
    "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname", "load_balance_hosts",
    "max_protocol_version", "min_protocol_version", "oauth_client_id", "oauth_issuer", "oauth_scope", "options",
    "passfile", "port", "replication", "require_auth", "requirepeer", "service", "ssl_max_protocol_version",
    "ssl_min_protocol_version", "sslcert", "sslcertmode", "sslcompression", "sslcrl", "sslcrldir", "sslkey",
    "sslkeylogfile", "sslmode", "sslnegotiation", "sslrootcert", "sslsni", "target_session_attrs",
    "tcp_user_timeout", "user"))
"""Every keyword of libpq in PostgreSQL 18."""

_SPACE = " \t\n\r\f\v"
_PAIR = re.compile(r"""[ \t\n\r\f\v]*([^=\ \t\n\r\f\v]*)[ \t\n\r\f\v]*(=?)[ \t\n\r\f\v]*""")
_QUOTED = re.compile(r"'((?:\\.|[^'\\])*)'", re.DOTALL)
_BARE = re.compile(r"(?:\\.|[^\\ \t\n\r\f\v])*\\?", re.DOTALL)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_SCHEMES = ("postgresql://", "postgres://")
# Only URIs need these, so they are compiled on first use.
_USER = r"([^:@/]*)(?::([^@/]*))?@"
_HOST = r"(?:\[([^\]]+)\](?=[:/?,]|$)|([^:/?,\[][^:/?,]*)?)(?::([^/?,]*))?(,?)"
_PERCENT = r"%([0-9A-Fa-f]{2})?"


def check_conninfo(text: str) -> str:
    """Return `text` itself, or raise BadValue: no connection string, an unknown parameter, or a secret in it (rule
    31)."""
    parameters = parse_conninfo(text)
    if not parameters:
        raise BadValue("an empty connection string names no server",
                       "Write, for instance, 'host=10.0.0.5 user=postgres'.")
    return text


def parse_conninfo(text: str) -> dict[str, str]:
    """Return the parameters of either form; BadValue as in `check_conninfo`."""
    if "\0" in text:
        raise BadValue("a connection string cannot contain a zero byte")
    scheme = next((each for each in _SCHEMES if text.startswith(each)), "")
    parameters: dict[str, str] = {}
    for keyword, value in _uri_pairs(text.removeprefix(scheme)) if scheme else _pairs(text):
        _check_keyword(keyword, uri=bool(scheme))
        if keyword in parameters:
            raise BadValue(f'"{keyword}" is given twice')
        parameters[keyword] = value
    return parameters


def _check_keyword(keyword: str, *, uri: bool) -> None:
    if keyword in SECRETS:
        raise BadValue(f'"{keyword}" is a secret, which must not be in a configuration file',
                       "Put it in a password file (passfile=...), in a service file (service=...), or name the "
                       'environment variable that holds it: password_environment = "NAME".')
    if keyword == "replication":
        raise BadValue('pgvault sets "replication" itself for each connection', "Remove it.")
    if keyword not in KEYWORDS:
        shown = keyword if re.fullmatch(r"[A-Za-z_]{1,40}", keyword) else ""
        hint = nearest(shown, KEYWORDS - SECRETS) if shown else ""
        form = "URI query parameter" if uri else "connection parameter"
        if not hint.startswith("Did"):
            hint = "Use libpq's parameters: host, port, user, dbname, ..."
        raise BadValue(f'unknown {form} "{shown}"' if shown else f"not a {form}", hint)


def _pairs(text: str) -> list[tuple[str, str]]:
    """Parse `keyword = value` pairs. A value may be quoted, and a backslash escapes the next character."""
    pairs: list[tuple[str, str]] = []
    at, end = 0, len(text.rstrip(_SPACE))
    while at < end:
        match = _PAIR.match(text, at)
        assert match  # every part of it may be empty
        if not match[2] or not match[1]:
            _refuse_after(pairs)
            raise BadValue(f'"=" is missing at character {match.end() + 1} of the connection string',
                           "Write keyword=value, and put a value with spaces between single quotes.")
        value = (_QUOTED if text.startswith("'", match.end()) else _BARE).match(text, match.end())
        if value is None:
            _refuse_after([*pairs, (match[1], "")])
            raise BadValue("a quoted value of the connection string has no end", "Add the closing single quote.")
        at = value.end()
        pairs.append((match[1], _ESCAPE.sub(r"\1", value[1] if value.re is _QUOTED else value[0])))
    return pairs


def _refuse_after(pairs: list[tuple[str, str]]) -> None:
    """Refuse a secret among the parameters before a syntax error: it is the more serious error, and often the cause."""
    for keyword, _ in pairs:
        if keyword in SECRETS:
            _check_keyword(keyword, uri=False)


def _uri_pairs(rest: str) -> list[tuple[str, str]]:
    """Return the parameters of the text after `postgresql://`:
    [user[:password]@][host[:port],...][/dbname][?name=value&...]."""
    pairs: list[tuple[str, str]] = []
    if match := re.match(_USER, rest):
        rest = rest[match.end():]
        pairs += [(k, v) for k, v in (("user", match[1]), ("password", match[2])) if v]
    hosts, ports, more = [], [], ","
    while more:
        match = re.match(_HOST, rest)
        if match is None:
            raise BadValue("the connection URI's IPv6 address has no closing bracket", "Write it as [::1].")
        address, name, port, more = match.groups()
        hosts.append(address or name or "")
        ports.append(port or "")
        rest = rest[match.end():]
    if rest and rest[0] not in "/?":
        raise BadValue("the connection URI's host is not valid", "Put an IPv6 address in brackets: [::1].")
    path, _, query = rest.partition("?")
    pairs += [(k, v) for k, v in (("host", ",".join(hosts)), ("port", ",".join(ports))) if v]
    pairs += [("dbname", path[1:])] if len(path) > 1 else []
    pairs = [(keyword, _decoded(value)) for keyword, value in pairs]
    return pairs + [_query_pair(item) for item in query.removesuffix("&").split("&") if query]


def _query_pair(item: str) -> tuple[str, str]:
    keyword, equals, value = item.partition("=")
    if not equals or "=" in value:
        raise BadValue("each parameter after the connection URI's \"?\" must be one name=value",
                       "Write an equals sign inside a value as %3D.")
    keyword, value = _decoded(keyword), _decoded(value)
    return ("sslmode", "require") if (keyword, value) == ("ssl", "true") else (keyword, value)


def _decoded(text: str) -> str:
    raw = bytearray()
    at = 0
    for match in re.finditer(_PERCENT, text):
        if match[1] is None or match[1] == "00":
            raise BadValue("the connection URI has an invalid percent-encoded character", "Write % itself as %25.")
        raw += text[at : match.start()].encode() + bytes((int(match[1], 16),))
        at = match.end()
    raw += text[at:].encode()
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadValue("the connection URI's percent-encoded characters are not UTF-8") from None
