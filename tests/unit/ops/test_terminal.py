"""Terminal tables: columns line up, in Chinese too."""

from __future__ import annotations

import json

import pytest

from ops.terminal import (
    display_width,
    draw_table,
    format_json,
    lines_without_controls,
    shorten,
    without_controls,
)


def test_a_chinese_character_takes_two_columns() -> None:
    assert display_width("达人 A、") == 8


def test_an_invisible_character_takes_no_column() -> None:
    assert display_width("e\u0301\u200d") == 1


def test_a_text_is_cut_between_characters() -> None:
    assert shorten("青梧岭茶事", 10) == "青梧岭茶事"
    assert shorten("青梧岭茶事", 9) == "青梧岭茶…"
    assert shorten("青梧岭茶事", 8) == "青梧岭…"


def test_columns_line_up_and_numbers_stand_right() -> None:
    table_text = draw_table("T", ("who", "fen"), [("阿橘", 5), ("x", 1_200), ("y", None)])
    assert table_text.splitlines() == [
        "T",
        "who     fen",
        "----  -----",
        "阿橘      5",
        "x     1,200",
        "y         -",
    ]


def test_a_terminal_table_may_be_empty() -> None:
    assert draw_table("T", ("who", "fen"), []).splitlines() == ["T", "who  fen", "---  ---"]


def test_a_name_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in draw_table("T", ("who",), [("\x1b[2J\n",)])


STEERING_TEXTS = {
    "an escape": "\x1b[2J",
    "a control sequence in one byte": "\x9b2J",
    "the end of a line": "\x85",
    "another line": "\u2028",
    "a deletion": "\x7f",
    "an override of direction": "\u202e",
    "an isolate": "\u2067",
}


@pytest.mark.parametrize("kind", STEERING_TEXTS)
def test_json_steers_no_terminal_and_means_the_same(kind: str) -> None:
    text = STEERING_TEXTS[kind]
    json_text = format_json({"name": f"{text}达人"})
    assert text[0] not in json_text
    assert "达人" in json_text
    assert json.loads(json_text) == {"name": f"{text}达人"}


@pytest.mark.parametrize("kind", STEERING_TEXTS)
def test_a_line_for_people_keeps_what_can_be_read_and_no_more(kind: str) -> None:
    text = STEERING_TEXTS[kind]
    assert without_controls(f"a{text[0]}b") == "a b"
    assert lines_without_controls(f"a{text[0]}b\nc") == "a b\nc"


def test_scripts_and_emoji_are_shown_as_they_are() -> None:
    text = "达人 e\u0301 👩\u200d🎨 שלום"
    assert without_controls(text) == text
    assert json.loads(format_json(text)) == text
    assert format_json(text) == f'"{text}"'
