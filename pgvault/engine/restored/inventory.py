"""Queries a database about what is brought back: relations, their names, owners and dependents. By SQL only; names are
parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from pgvault.engine.restored.side import Side
from pgvault.model.bring_back import Relation
from pgvault.model.relation import RelationName

_RELATIONS: Final = """WITH RECURSIVE asked(oid, below) AS (
  SELECT c.oid, false FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND (n.nspname::text = ANY(%(schemas)s)
         OR (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest(%(owners)s::text[], %(names)s::text[])))
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
  UNION SELECT i.inhrelid, true FROM pg_inherits i JOIN asked a ON i.inhparent = a.oid)
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
  CASE WHEN c.relkind IN ('r', 'm') THEN pg_total_relation_size(c.oid) ELSE 0 END::int8,
  pg_get_userbyid(c.relowner)::text, c.relispartition, bool_or(a.below)
FROM asked a JOIN pg_class c ON c.oid = a.oid JOIN pg_namespace n ON n.oid = c.relnamespace
GROUP BY c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relowner, c.relispartition ORDER BY c.oid"""
_SEQUENCES: Final = """SELECT c.oid::int8, n.nspname::text, c.relname::text, 'S', c.relpersistence::text, 0::int8,
  pg_get_userbyid(c.relowner)::text, false, true
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S' JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(%s::oid[])
  AND d.deptype IN ('a', 'i') AND c.oid <> ALL(%s::oid[])"""
_INDEXES: Final = """SELECT n.nspname::text, c.relname::text
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indrelid = ANY(%s::oid[])"""
_TAKEN: Final = """SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest(%(owners)s::text[], %(names)s::text[]))
UNION SELECT n.nspname::text, t.typname::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE (n.nspname::text, t.typname::text) IN (SELECT * FROM unnest(%(owners)s::text[], %(names)s::text[]))
ORDER BY 1, 2"""
_ROLES: Final = """SELECT DISTINCT pg_get_userbyid(a.grantee)::text FROM pg_class c, aclexplode(c.relacl) a
WHERE c.oid = ANY(%(oids)s::oid[]) AND a.grantee <> 0
UNION SELECT pg_get_userbyid(a.grantee)::text FROM pg_namespace n, aclexplode(n.nspacl) a
WHERE n.nspname::text = ANY(%(schemas)s) AND a.grantee <> 0
UNION SELECT pg_get_userbyid(n.nspowner)::text FROM pg_namespace n WHERE n.nspname::text = ANY(%(schemas)s)"""
_RIGHTS: Final = """SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  has_database_privilege(current_database(), 'CREATE'),
  (SELECT coalesce(array_agg(nspname::text), '{}') FROM pg_namespace
   WHERE nspname::text = ANY(%(schemas)s) AND NOT has_schema_privilege(oid, 'CREATE')),
  (SELECT coalesce(array_agg(rolname::text), '{}') FROM pg_roles
   WHERE rolname::text = ANY(%(owners)s) AND NOT pg_has_role(oid, 'MEMBER')), current_user::text"""
_KEYS: Final = """SELECT c.conrelid::regclass::text, quote_ident(c.conname), pg_get_constraintdef(c.oid)
FROM pg_constraint c WHERE c.contype = 'f' AND c.confrelid = ANY(%(oids)s::oid[])
  AND c.conrelid <> ALL(%(oids)s::oid[]) AND c.conparentid = 0 ORDER BY 1, 2"""
_VIEWS: Final = """SELECT DISTINCT n.nspname::text, v.relname::text
FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class
JOIN pg_namespace n ON n.oid = v.relnamespace
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(%(oids)s::oid[])
  AND v.oid <> ALL(%(oids)s::oid[]) ORDER BY 1, 2"""
_PUBLISHED: Final = """SELECT quote_ident(p.pubname), c.oid::regclass::text
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid
WHERE r.prrelid = ANY(%(oids)s::oid[]) ORDER BY 1, 2"""

Names = Collection[tuple[str, str]]
"""Schemas and the names in them."""


async def relations(side: Side, schemas: Collection[str], tables: Collection[RelationName]) -> list[Relation]:
    """Return all relations in the schemas, the tables, and their children: partitions, inheriting tables and owned
    sequences."""
    names = _columns([(each.schema, each.name) for each in tables])
    found = [Relation(*row) for row in await side.rows(_RELATIONS, {"schemas": list(schemas), **names})]
    oids = [each.oid for each in found]
    return found + [Relation(*row) for row in await side.rows(_SEQUENCES, (oids, oids))]


async def existing_schemas(side: Side) -> set[str]:
    return {name for (name,) in await side.rows("SELECT nspname::text FROM pg_namespace")}


async def names_of(side: Side, found: Collection[Relation]) -> set[tuple[str, str]]:
    """Return every name that their definitions use, including those of indexes."""
    indexes = await side.rows(_INDEXES, ([each.oid for each in found],))
    return {(each.schema, each.name) for each in found} | {(schema, name) for schema, name in indexes}


async def taken(side: Side, names: Names) -> list[tuple[str, str]]:
    """Return those of the names that exist."""
    return [(schema, name) for schema, name in await side.rows(_TAKEN, _columns(names))]


async def roles_of(side: Side, found: Collection[Relation], schemas: Collection[str]) -> set[str]:
    """Return their owners and grantees."""
    granted = await side.rows(_ROLES, {"oids": [each.oid for each in found], "schemas": list(schemas)})
    return {each.owner for each in found} | {name for (name,) in granted}


async def missing_roles(side: Side, names: Collection[str]) -> list[str]:
    known = {name for (name,) in await side.rows("SELECT rolname::text FROM pg_roles")}
    return sorted(set(names) - known)


async def missing_rights(side: Side, *, creates: bool, schemas: Collection[str],
                         owners: Collection[str]) -> list[str]:
    """Return what this session's role may not do: create a schema, create in these schemas, or assign these owners."""
    [(superuser, may_create, closed, strangers, me)] = await side.rows(
        _RIGHTS, {"schemas": list(schemas), "owners": list(owners)})
    if superuser:
        return []
    return [*([f"{me} may create no schema in this database"] * (creates and not may_create)),
            *(f"{me} may not create in schema {each}" for each in closed),
            *(f"{me} is not a member of {each}, the owner of a part of it" for each in strangers)]


async def lost_dependents(side: Side, found: Collection[Relation]) -> Mapping[str, list[tuple[str, ...]]]:
    """Return dependents outside that were dropped as well, by `keys`, `views` and `published`."""
    asked = {"oids": [each.oid for each in found]}
    return {"keys": await side.rows(_KEYS, asked), "views": await side.rows(_VIEWS, asked),
            "published": await side.rows(_PUBLISHED, asked)}


async def large_objects(side: Side) -> int:
    """Count those in its database."""
    [(count,)] = await side.rows("SELECT count(*) FROM pg_largeobject_metadata", {})
    return int(count)


def _columns(names: Names) -> dict[str, list[str]]:
    return {"owners": [schema for schema, _ in names], "names": [name for _, name in names]}
