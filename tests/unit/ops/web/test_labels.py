"""Labels: the ops page has a label for everything the pipeline names, in English and in Chinese."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from models.calendar import CountingMethod
from models.commands import COMMAND_KINDS
from models.events.event import EVENT_TYPES
from models.events.notifications import Limits
from models.ledger import ACCOUNT_FAMILIES
from models.lifecycle import (
    END_REASONS,
    SYSTEM_REQUESTS,
    DebtStatus,
    DisputeReason,
    PausedBy,
    Role,
    State,
)
from models.reasons import Alert, RejectionReason, UnappliedReason
from ops.order_views import WAITS_FOR
from ops.web.app import STATIC

PAIR = re.compile(r'  "?([\w.]+)"?: \["([^"]+)", "([^"]+)"\],')
CHINESE = re.compile("[\u4e00-\u9fff]")
LabelPairs = dict[str, tuple[str, str]]


def name_pairs(const: str) -> LabelPairs:
    """Read one table of names.js; every line of it is a comment or a name with two words."""
    text = (STATIC / "names.js").read_text("utf-8")
    inside = text.split(f"const {const} = {{\n")[1].split("\n};\n")[0].splitlines()
    lines = [line for line in inside if line and not line.startswith("  //")]
    matches = [PAIR.fullmatch(line) for line in lines]
    assert [line for line, match in zip(lines, matches, strict=True) if match is None] == []
    keys = [match[1] for match in matches if match]
    assert sorted(keys) == sorted(set(keys))
    return {match[1]: (match[2], match[3]) for match in matches if match}


NAMES_NEEDING_LABELS: dict[str, set[Any]] = {
    "states": set(State),
    "endings": {reason for reasons in END_REASONS.values() for reason in reasons},
    "disputes": set(DisputeReason),
    "commands": set(COMMAND_KINDS),
    "what nobody asks": set(SYSTEM_REQUESTS),
    "events": set(EVENT_TYPES),
    "refusals": set(RejectionReason),
    "unusable money": set(UnappliedReason),
    "alerts": set(Alert),
    "statuses of refunds and payouts": set(DebtStatus),
    "accounts": set(ACCOUNT_FAMILIES),
    "ways to count days": set(get_args(CountingMethod)),
}


@pytest.mark.parametrize("kind", NAMES_NEEDING_LABELS)
def test_everything_that_the_models_name_has_a_label(kind: str) -> None:
    words_by_name = name_pairs("PAIRS")
    assert {str(name) for name in NAMES_NEEDING_LABELS[kind]} - words_by_name.keys() == set()


def test_every_label_is_in_its_own_language() -> None:
    for english, chinese in (name_pairs("PAIRS") | name_pairs("WAITS")).values():
        assert english.isascii(), english
        assert "_" not in english
        assert CHINESE.search(chinese), chinese


def test_the_page_says_of_every_wait_what_the_command_line_says() -> None:
    words_by_state = {state: english for state, (english, _) in name_pairs("WAITS").items()}
    assert words_by_state == {state.value: text for state, text in WAITS_FOR.items()}


def labels(language: str) -> set[str]:
    """Return the labels that words.js has in one language."""
    text = (STATIC / "words.js").read_text("utf-8")
    inside = text.split(f"const {language} = {{\n")[1].split("\n};\n")[0]
    without_words = re.sub(r'"[^"]*"|`[^`]*`', "", inside)
    return set(re.findall(r"(\w+):", without_words))


def test_both_languages_have_the_same_labels() -> None:
    assert labels("EN") == labels("ZH")


def test_the_page_says_of_every_limit_what_it_is() -> None:
    assert {f"limit_{name}" for name in Limits.__annotations__} - labels("EN") == set()


def test_the_page_uses_no_label_that_does_not_exist() -> None:
    source = "".join(path.read_text("utf-8") for path in sorted(STATIC.glob("*.js")))
    labels_used = set(re.findall(r'\bt\("(\w+)"', source))
    roles = {role.value for role in Role}
    assert (labels_used | roles | set(get_args(PausedBy)) | {"silence"}) - labels("EN") == set()
