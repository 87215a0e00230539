"""Terminal tables: columns line up, in Chinese too."""

from __future__ import annotations

from ops.terminal import display_width, draw_table, shorten


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
