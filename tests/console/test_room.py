"""How the lines of a screen are shared."""

from __future__ import annotations

from pgvault.console.room import Wish, shared

WISHES = (Wish("list", 4), Wish("facts", 3), Wish("facts", 8), Wish("time", 8, 8), Wish("list", 9))


def test_the_first_wishes_come_first_and_a_part_too_low_for_use_is_left_out() -> None:
    assert shared(30, WISHES) == {"list": 9, "facts": 8, "time": 8}
    assert shared(21, WISHES) == {"list": 5, "facts": 8, "time": 8}
    assert shared(19, WISHES) == {"list": 9, "facts": 8, "time": 0}
    assert shared(5, WISHES) == {"list": 4, "facts": 1, "time": 0}
    assert shared(-1, WISHES) == {"list": 0, "facts": 0, "time": 0}
