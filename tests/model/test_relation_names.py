"""Names of tables and schemas as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.relation import RelationName, SchemaName, parse_object, parse_objects, parse_relation

PARTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15)


@given(PARTS, PARTS, PARTS)
def test_any_name_is_read_as_it_is_written(database: str, schema: str, table: str) -> None:
    relation, space = RelationName(database, schema, table), SchemaName(database, schema)
    assert parse_relation(str(relation)) == parse_object(str(relation)) == relation
    assert parse_object(str(space)) == space


@pytest.mark.parametrize(("typed", "parts"), [
    ("shop.public.sales", ("shop", "public", "sales")), ("Shop.PUBLIC.Sales_1$", ("shop", "public", "sales_1$")),
    ('shop."Pub.lic"."a""b"', ("shop", "Pub.lic", 'a"b')), ("ÄZ.öä._z", ("Äz", "öä", "_z")),
    ("a." + "x" * 63 + ".b", ("a", "x" * 63, "b"))])
def test_names_are_folded_as_postgresql_folds_them(typed: str, parts: tuple[str, str, str]) -> None:
    assert parse_relation(typed) == RelationName(*parts)


@pytest.mark.parametrize(("typed", "where"), [
    ("", ""), ("sales", ""), ("public.sales", ""), ("a.b.c.d", ""), ("a.b.", ""), ("a.b.c.", ""), ("-a.b.c", ""),
    ("shop.order-items.x", " (from '-items.x' on)"), ('a."b', " (from '\"b' on)"), ('a."".c', " (from '\"\".c' on)"),
    ("a..c", " (from '.c' on)"), ("a.b.c d", " (from ' d' on)"), ("a.1b.c", " (from '1b.c' on)"),
    ("a." + "-" * 30, f" (from {'-' * 20!r} on)")])
def test_what_is_no_table_is_refused_with_the_place(typed: str, where: str) -> None:
    with pytest.raises(ValueError, match="not a table's name") as failure:
        parse_relation(typed)
    assert str(failure.value).startswith(f"not a table's name: {typed!r}{where}; write DATABASE.SCHEMA.TABLE, and in")


@pytest.mark.parametrize(("typed", "where"), [
    ("", ""), ("a", ""), ("a.b.c.d", ""), ("a.b.", ""), ("a.b.c-", " (from '-' on)")])
def test_what_is_neither_table_nor_schema_is_refused(typed: str, where: str) -> None:
    with pytest.raises(ValueError, match="not the name of a table or schema") as failure:
        parse_object(typed)
    assert str(failure.value).startswith(
        f"not the name of a table or schema: {typed!r}{where}; write DATABASE.SCHEMA.TABLE or DATABASE.SCHEMA, and in")


@pytest.mark.parametrize(("typed", "said"), [
    ("a.b." + "x" * 64, "'" + "x" * 20 + "'... has 64 bytes, PostgreSQL's names have at most 63"),
    ("a.b." + "ä" * 32, "'" + "ä" * 20 + "'... has 64 bytes, PostgreSQL's names have at most 63"),
    ("a.b.\ud800", "is not valid UTF-8")])
def test_what_postgresql_would_cut_is_refused(typed: str, said: str) -> None:
    with pytest.raises(ValueError, match="not a table's name") as failure:
        parse_relation(typed)
    assert said in str(failure.value)


def test_several_names_stand_between_blanks() -> None:
    assert parse_objects('  shop.public.a\tshop."two words"."b ""c""" \n shop.hr ') == [
        RelationName("shop", "public", "a"), RelationName("shop", "two words", 'b "c"'), SchemaName("shop", "hr")]
    assert parse_objects(" ") == []
    with pytest.raises(ValueError, match="not the name of a table or schema: 'b'"):
        parse_objects("shop.a b")
