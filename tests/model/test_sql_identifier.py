"""Names as SQL writes them, as real servers read them."""

from __future__ import annotations

import pytest
from support.postgres import Server

from pgvault.model.identifier import sql_identifier, sql_literal


@pytest.mark.parametrize(("name", "written"), [
    ("orders", "orders"), ("_o1", "_o1"), ("Orders", '"Orders"'), ("order", '"order"'), ("user", '"user"'),
    ("1st", '"1st"'), ("a$b", '"a$b"'), ('say "when"', '"say ""when"""'), ("größe", '"größe"'), ("a.b", '"a.b"'),
    ("", '""'), ("name", "name"),
])
def test_quotes_where_they_are_needed(name: str, written: str) -> None:
    assert sql_identifier(name) == written


@pytest.mark.parametrize(("text", "written"), [("", "''"), ("it's", "'it''s'"), ("''", "''''''"), ('a"b', "'a\"b'")])
def test_a_literal_doubles_its_quotes(text: str, written: str) -> None:
    assert sql_literal(text) == written


def test_every_server_reads_them_as_they_are(every_pg: Server) -> None:
    words = [word for [word] in every_pg.sql("SELECT word FROM pg_get_keywords()")]
    odd = ["Orders", "größe", "a$b", 'say "when"', "a.b", " ", "--", "a\\b"]
    database = every_pg.new_database()
    with every_pg.connect(database) as connection:
        for name in words + odd:
            connection.execute(f"CREATE TABLE {sql_identifier(name)} ()".encode())
    made = {name for [name] in every_pg.sql("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace",
                                            dbname=database)}
    assert made == {*words, *odd}
