"""Labels: the ops page has a label for everything the pipeline names, in English and in Chinese."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from models.calendar import Counted
from models.commands import KINDS
from models.events.event import FACTS
from models.ledger import FAMILIES
from models.lifecycle import DISPUTES, ENDINGS, NOT_ASKED, Role, State, Stopper
from models.reasons import Alert, Reason, Unusable
from ops.order_views import WAITS_FOR
from ops.web.app import STATIC

PAIR = re.compile(r'  "?([\w.]+)"?: \["([^"]+)", "([^"]+)"\],')


CHINESE = re.compile("[\u4e00-\u9fff]")


Pairs = dict[str, tuple[str, str]]


def pairs(const: str) -> Pairs:
    """Read one table of names.js; every line of it is a comment or a name with two words."""
    text = (STATIC / "names.js").read_text("utf-8")
    inside = text.split(f"const {const} = {{\n")[1].split("\n};\n")[0].splitlines()
    lines = [line for line in inside if line and not line.startswith("  //")]
    matches = [PAIR.fullmatch(line) for line in lines]
    assert [line for line, match in zip(lines, matches, strict=True) if match is None] == []
    keys = [match[1] for match in matches if match]
    assert sorted(keys) == sorted(set(keys))
    return {match[1]: (match[2], match[3]) for match in matches if match}


NAMED: dict[str, set[Any]] = {
    "states": set(State),
    "endings": {reason for reasons in ENDINGS.values() for reason in reasons},
    "disputes": set(DISPUTES),
    "commands": set(KINDS),
    "what nobody asks": set(NOT_ASKED),
    "events": set(FACTS),
    "refusals": set(Reason),
    "unusable money": set(Unusable),
    "alerts": set(Alert),
    "accounts": set(FAMILIES),
    "ways to count days": set(get_args(Counted)),
}


@pytest.mark.parametrize("kind", NAMED)
def test_nothing_that_the_models_name_lacks_a_word(kind: str) -> None:
    words_by_name = pairs("PAIRS")
    assert {str(name) for name in NAMED[kind]} - words_by_name.keys() == set()


def test_every_word_is_a_word_of_its_language() -> None:
    for english, chinese in (pairs("PAIRS") | pairs("WAITS")).values():
        assert english.isascii(), english
        assert "_" not in english
        assert CHINESE.search(chinese), chinese


def test_the_page_says_of_every_wait_what_the_command_line_says() -> None:
    words_by_state = {state: english for state, (english, _) in pairs("WAITS").items()}
    assert words_by_state == {state.value: text for state, text in WAITS_FOR.items()}


def labels(language: str) -> set[str]:
    """Return the labels that words.js has in one language."""
    text = (STATIC / "words.js").read_text("utf-8")
    inside = text.split(f"const {language} = {{\n")[1].split("\n};\n")[0]
    without_words = re.sub(r'"[^"]*"|`[^`]*`', "", inside)
    return set(re.findall(r"(\w+):", without_words))


def test_both_languages_have_the_same_labels() -> None:
    assert labels("EN") == labels("ZH")


def test_the_page_says_nothing_that_has_no_label() -> None:
    source = "".join(path.read_text("utf-8") for path in sorted(STATIC.glob("*.js")))
    labels_used = set(re.findall(r'\bt\("(\w+)"', source))
    roles = {role.value for role in Role}
    assert (labels_used | roles | set(get_args(Stopper)) | {"silence"}) - labels("EN") == set()
