"""Transactions that are prepared and that nobody has ended, in words."""

from __future__ import annotations

import pytest

from pgvault.model.prepared import LOCK_MODES, Prepared

LOCKS = tuple(f"{mode} on public.t{number}" for number, mode in enumerate(LOCK_MODES[1:8], 1))


@pytest.mark.parametrize(("locks", "told"), [
    (0, ""), (1, ", holds AccessShareLock on public.t1"),
    (5, f", holds {', '.join(LOCKS[:5])}"), (6, f", holds {', '.join(LOCKS[:5])} and 1 more lock"),
    (7, f", holds {', '.join(LOCKS[:5])} and 2 more locks")])
def test_it_is_told_with_its_owner_and_its_locks(locks: int, told: str) -> None:
    assert str(Prepared("it's", "alice", "shop", locks=LOCKS[:locks])) == (
        f"transaction \"it's\" of alice in shop is prepared and has not ended{told}")


@pytest.mark.parametrize(("database", "written"), [("shop", "shop"), ("Shop", '"Shop"'), ("OID 16385", "OID 16385")])
def test_the_next_step_can_be_typed_as_it_stands(database: str, written: str) -> None:
    assert Prepared("it's", "alice", database).step == (
        f"In {written}, as alice or a superuser: COMMIT PREPARED 'it''s' or ROLLBACK PREPARED 'it''s'.")
