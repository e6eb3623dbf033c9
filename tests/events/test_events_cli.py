"""The events verb: text for a tired person, one JSON object a line for scripts."""

from __future__ import annotations

import re

from happenings import ODD, Site

from pgvault.model.lsn import Lsn


def test_the_text_says_what_and_how_to_go_back(lived: Site) -> None:
    text = lived.cli("events", "main").text
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if "table public.plain" in line)
    [event] = lived.of("drop", lived.events())
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+0[12]:00  drop +table public\.plain in database shop",
                        lines[place])
    assert lines[place + 1].strip() == f"to undo: --target-lsn {event.lsn} --exclusive --target-timeline 1"
    assert "deleted 400 rows of table public.mass in database shop" in text
    assert "updated 500 rows of table public.changed in database shop" in text
    assert "database doomed" in text
    assert f"restore point {ODD[:40]}" in text
    assert "pg_toast" not in text


def test_json_has_one_object_a_line(lived: Site) -> None:
    done = lived.cli("events", "main", "--format", "json", "--newest-first", "--limit", "2")
    first, second = done.json_lines()
    event = lived.events(newest_first=True, limit=1)[0]
    assert first == {
        "schema": 1, "server": "main", "kind": "drop-database", "time": first["time"], "timeline": 1,
        "lsn": str(event.lsn), "end_lsn": str(event.end_lsn), "xid": event.xid,
        "database": {"oid": event.database.oid, "name": "doomed"}, "objects": [], "rows": 0, "name": "",
        "partial": False, "prepared": None, "dropped_schema": "",
        "undo": ["--target-lsn", str(event.lsn), "--exclusive", "--target-timeline", "1"]}
    assert (second["kind"], second["name"]) == ("restore-point", ODD[:40])
    assert second["undo"] == ["--target-name", ODD[:40], "--target-timeline", "1"]
    [deletion] = lived.cli("events", "main", "--format", "json", "--object", "mass").json_lines()
    [table] = deletion["objects"]
    assert table.items() >= {"kind": "table", "schema": "public", "name": "mass", "deleted": 400, "updated": 0}.items()
    assert deletion["rows"] == 400


def test_what_is_asked_for(lived: Site) -> None:
    deed = lived.deeds["truncate"]
    paris = lived.server.scalar("SELECT to_char(%s AT TIME ZONE 'Europe/Paris', 'YYYY-MM-DD HH24:MI:SS.US')",
                                (deed.since,))
    found = lived.cli("events", "main", "--since", paris, "--kind", "truncate", "--format", "json").json_lines()
    assert [each["kind"] for each in found] == ["truncate"] * (3 if lived.server.major >= 15 else 2)
    assert all(Lsn.parse(each["lsn"]) >= deed.begin for each in found)
    until = lived.cli("events", "main", "--until", lived.deeds["drop"].since.isoformat(sep=" "))
    assert until.text == ""
    assert "no such event" in until.stderr


def test_what_cannot_be_asked_is_said(lived: Site) -> None:
    assert "--since" in lived.cli("events", "main", "--since", "yesterday", check=2).stderr
    assert "limit" in lived.cli("events", "main", "--limit", "0", check=2).stderr
    assert "timeline 7" in lived.cli("events", "main", "--timeline", "7", check=4).stderr
    assert "--timeline" in lived.cli("events", "main", "--timeline", "1", "--all-timelines", check=2).stderr
    assert lived.cli("events", "nobody", check=4).stderr
