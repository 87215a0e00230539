"""Work: commands about scripts, contents and publications, disputes and ratings."""

from __future__ import annotations

from examples import talk
from examples.plot import Options, Plot, Verb
from examples.stage import seconds, shanghai_text
from models.lifecycle import State

PAGES = {
    "douyin_video": "https://www.douyin.example/video/{number}",
    "douyin_live": "https://live.douyin.example/replay/{number}",
    "huoshan": "https://www.huoshan.example/s/{number}",
    "xigua": "https://www.ixigua.example/{number}",
    "toutiao": "https://www.toutiao.example/article/{number}",
}
"""Where works of each type are published."""

FILES = "https://pan.example/{order}/{what}-v{version}.{kind}"
LONGEST_FILM = 3
"""How many files a work may come in."""


def script(plot: Plot, at: float, options: Options) -> None:
    """Hand in the next version of the script."""
    number = plot.order(at).scripts + 1
    links = [FILES.format(order=plot.order_id, what="script", version=number, kind="docx")]
    note = plot.pick(talk.SCRIPT_NOTES)
    plot.ask(at, "submit_script", plot.for_creator(options), links=links, note=note)


def content(plot: Plot, at: float, options: Options) -> None:
    """Hand in the next version of the work."""
    number = plot.order(at).contents + 1
    parts = plot.stage.chance.randint(1, LONGEST_FILM)
    kind = "html" if plot.terms["task_type"] == "toutiao" else "mp4"
    links = [
        FILES.format(order=plot.order_id, what=f"part{n}", version=number, kind=kind)
        for n in range(1, parts + 1)
    ]
    note = plot.pick(talk.CONTENT_NOTES)
    plot.ask(at, "submit_content", plot.for_creator(options), links=links, note=note)


def approve(plot: Plot, at: float, options: Options) -> None:
    plot.ask(at, f"approve_{_reviewed(plot, at)}", plot.for_client(options))


def reject(plot: Plot, at: float, options: Options) -> None:
    work_kind = _reviewed(plot, at)
    comment = plot.pick(talk.REJECTED[work_kind])
    plot.ask(at, f"reject_{work_kind}", plot.for_client(options), comment=comment)


def _reviewed(plot: Plot, at: float) -> str:
    """Say what is being reviewed, or was last."""
    order = plot.order(at)
    early = (State.SCRIPT_REVIEW, State.SCRIPT_REVISION)
    return "script" if order.state in early or not order.contents else "content"


def publish(plot: Plot, at: float, options: Options) -> None:
    number = 7_360_000_000_000_000_000 + plot.stage.chance.randrange(10**15)
    url = PAGES[plot.terms["task_type"]].format(number=number)
    published_at = shanghai_text(at - plot.stage.between(0.1, 0.4))
    plot.ask(at, "publish_work", plot.for_creator(options), url=url, published_at=published_at)


def confirm(plot: Plot, at: float, options: Options) -> None:
    plot.ask(at, "confirm_delivery", plot.for_client(options))


def propose(plot: Plot, at: float, options: Options) -> None:
    """Propose to publish in `to` seconds, as the creator unless the script says who."""
    is_client = options.get("by") == "client"
    by = plot.for_client({}) if is_client else plot.for_creator(options)
    publish_at = shanghai_text(at + float(options["to"]))
    plot.ask(at, "propose_schedule", by, expected_publish_at=publish_at)


def agree(plot: Plot, at: float, options: Options) -> None:
    """Agree to the day that was proposed, or to `off` seconds later, as the client unless said."""
    is_creator = options.get("by") == "creator"
    by = plot.for_creator({}) if is_creator else plot.for_client({})
    proposal = plot.order(at).proposal
    proposed = seconds(proposal.expected_publish_at) if proposal else at + 1
    publish_at = shanghai_text(proposed + float(options.get("off", 0)))
    plot.ask(at, "agree_schedule", by, expected_publish_at=publish_at)


def dispute(plot: Plot, at: float, options: Options) -> None:
    """Ask an operator to decide, as the client unless the script says who."""
    is_client = options.get("by", "client") == "client"
    by = plot.for_client({}) if is_client else plot.for_creator(options)
    reason = plot.pick(talk.DISPUTED["client" if is_client else "creator"])
    plot.ask(at, "dispute_order", by, reason=reason)


def rate(plot: Plot, at: float, _: Options) -> None:
    stars = plot.stage.chance.choices((5, 4, 3, 2, 1), (12, 6, 3, 1, 1))[0]
    comment = plot.pick(talk.RATED[stars])
    plot.ask(at, "rate_order", plot.for_client({}), rating=stars, comment=comment)


VERBS: dict[str, Verb] = {
    "script": script,
    "content": content,
    "approve": approve,
    "reject": reject,
    "publish": publish,
    "confirm": confirm,
    "propose": propose,
    "agree": agree,
    "dispute": dispute,
    "rate": rate,
}
