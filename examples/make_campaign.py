"""Campaign: write `campaign.jsonl` and `demo-policy.json`, always the same ones.

`python -m examples.make_campaign` from the project's root.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from examples import merged, oddities
from examples.author import Author
from examples.scenes import scenes
from examples.stage import POLICY, Body, shanghai_text
from examples.stories import stories
from examples.works import agreed, works

HERE = Path(__file__).resolve().parent
CAMPAIGN = HERE / "campaign.jsonl"
DEMO_POLICY = HERE / "demo-policy.json"

THE_END = 60.0
"""Seconds: when all is over."""


def write() -> list[Body]:
    """Write the whole campaign: steps in order of time."""
    author = Author()
    author.open()
    stories_to_tell = [(story, False) for story in stories() for _ in range(story.orders)]
    stories_to_tell += [(story, True) for story in works() for _ in range(story.orders)]
    author.chance.shuffle(stories_to_tell)
    for story, work in stories_to_tell:
        author.tell(story, work=work)
    for bend, size in merged.GROUPS:
        author.group(bend, size)
    for scene in scenes():
        author.scene(scene)
    for story in agreed():
        for _ in range(story.orders):
            author.tell(story, work=True)
    oddities.tell(author.stage)
    commands = sorted(author.stage.commands, key=lambda command: command[0])
    return [
        *({"at": shanghai_text(at), "command": body} for at, body in commands),
        {"at": shanghai_text(THE_END)},
    ]


def lines(steps: list[Body]) -> Iterator[str]:
    """Spell steps as the file does: Chinese as it is, unless it is half a character."""
    for step in steps:
        text = json.dumps(step, ensure_ascii=False)
        yield text if text.isprintable() else json.dumps(step)


def main() -> None:
    """Write both files."""
    CAMPAIGN.write_text("".join(f"{line}\n" for line in lines(write())), encoding="utf-8")
    rules = json.loads(POLICY.model_dump_json(exclude_defaults=True))
    DEMO_POLICY.write_text(json.dumps(rules, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
