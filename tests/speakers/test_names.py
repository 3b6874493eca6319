"""Names are compared by what is to be seen of them."""

from __future__ import annotations

import pytest
from error_codes import raises_code

from mvector.speakers.names import checked_name

ZERO_WIDTH_SPACE, NON_JOINER, JOINER = "\u200b", "\u200c", "\u200d"


@pytest.mark.parametrize(
    "invisible",
    [ZERO_WIDTH_SPACE, NON_JOINER, JOINER, "\u00ad", "\u200e", "\u202e", "\u2060", "\ufeff"],
    ids=ascii,
)
def test_two_names_that_look_alike_are_one(invisible: str) -> None:
    for name in (f"A{invisible}da", f"{invisible}Ada", f" Ada {invisible}", f"Ada{invisible * 3}"):
        assert checked_name(name) == "Ada"
    with raises_code("name-invalid"):
        checked_name(invisible)


@pytest.mark.parametrize(
    "name",
    [
        f"علی{NON_JOINER}رضا",  # Persian: letters that would be joined
        f"م\u064e{NON_JOINER}ن",  # with a vowel sign between them
        f"क्{JOINER}ष",  # Devanagari: half a letter
        f"क्{NON_JOINER}ष",  # a virama that is seen
        f"র{JOINER}্য",  # Bengali
        f"ශ්{JOINER}රී",  # Sinhala
        f"👩{JOINER}🚀",  # two emoji that are one
        f"👩🏽{JOINER}❤\ufe0f{JOINER}👩",
        "\u0600\u0661",  # a sign around a number
    ],
)
def test_what_changes_the_letters_beside_it_stays(name: str) -> None:
    assert checked_name(name) == name
    assert checked_name(name.replace(NON_JOINER, NON_JOINER * 2)) == name
    assert checked_name(f"{ZERO_WIDTH_SPACE}{name}{NON_JOINER}") == name


@pytest.mark.parametrize(
    "name",
    [f"رضا{NON_JOINER}علی", f"ক{NON_JOINER}", f"علی{JOINER}رضا", f"Ada{JOINER}🚀", f"🚀{JOINER}"],
)
def test_a_joiner_that_changes_nothing_goes(name: str) -> None:
    assert checked_name(name) == name.replace(NON_JOINER, "").replace(JOINER, "")


def test_what_is_put_together_without_it_is_one_letter() -> None:
    assert checked_name(f"e{ZERO_WIDTH_SPACE}\u0301") == "é"
