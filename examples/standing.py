"""Standing: who may act for whom, who broke the rules, and who leaves."""

from __future__ import annotations

from examples import talk
from examples.plot import How, Plot, Verb
from examples.powers import OPERATOR
from examples.stage import CONSOLE, told


def switch(plot: Plot, at: float, _: How) -> None:
    """Sign the creator with another agency."""
    one = plot.creator
    new = {"creator_id": one.creator_id, "name": one.name, "contract": "mcn"}
    mcn_id = "mcn-1" if one.mcn_id == "mcn-6" else "mcn-6"
    plot.say(at, "register_creator", CONSOLE, **new, mcn_id=mcn_id, mcn_share_bps=one.share_bps)


def appoint(plot: Plot, at: float, how: How) -> None:
    """Let a provider act for a side, or with `who=nobody` none any more."""
    client = how.get("by", "client") == "client"
    by = plot.for_client({}) if client else plot.for_creator(how)
    who = None if how["who"] == "nobody" else f"provider-{how['who']}"
    plot.ask(at, "appoint_provider", by, provider_id=who)


def report(plot: Plot, at: float, how: How) -> None:
    """Report the creator's next advertisement outside, or with `seen` one told before."""
    number = int(how["number"])
    name = f"vio-{plot.creator.creator_id}-{number}"
    evidence = talk.SEEN[number % len(talk.SEEN)] + ("（补充截图）" if "other" in how else "")
    seen = {"url": f"https://weibo.example/p/{name}", "seen_at": told(plot.start)}
    who = {"violation_id": name, "creator_id": plot.creator.creator_id}
    plot.say(at, "report_violation", CONSOLE, **who, **seen, evidence=evidence)


def overturn(plot: Plot, at: float, how: How) -> None:
    name = f"vio-{plot.creator.creator_id}-{how['number']}"
    reason = plot.pick(talk.OVERTURNED)
    plot.say(at, "overturn_violation", OPERATOR, violation_id=name, reason=reason)


def leave(plot: Plot, at: float, how: How) -> None:
    """End the creator's contract, at the creator's own wish or the platform's."""
    own = ("creator", plot.creator.creator_id)
    by, reason = (CONSOLE, None) if how.get("by") == "platform" else (own, plot.pick(talk.LEFT))
    plot.say(at, "end_contract", by, creator_id=plot.creator.creator_id, reason=reason)


VERBS: dict[str, Verb] = {
    "switch": switch,
    "appoint": appoint,
    "report": report,
    "overturn": overturn,
    "leave": leave,
}
