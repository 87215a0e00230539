"""Standing: who may act for whom, who broke the rules, and who leaves."""

from __future__ import annotations

from examples import talk
from examples.plot import Options, Plot, Verb
from examples.powers import OPERATOR
from examples.stage import CONSOLE, shanghai_text


def switch(plot: Plot, at: float, _: Options) -> None:
    """Sign the creator with another agency."""
    creator = plot.creator
    new = {"creator_id": creator.creator_id, "name": creator.name, "contract": "mcn"}
    mcn_id = "mcn-1" if creator.mcn_id == "mcn-6" else "mcn-6"
    plot.say(at, "register_creator", CONSOLE, **new, mcn_id=mcn_id, mcn_share_bps=creator.share_bps)


def appoint(plot: Plot, at: float, options: Options) -> None:
    """Let a provider act for a side, or with `who=nobody` none any more."""
    is_client = options.get("by", "client") == "client"
    by = plot.for_client({}) if is_client else plot.for_creator(options)
    provider_id = None if options["who"] == "nobody" else f"provider-{options['who']}"
    plot.ask(at, "appoint_provider", by, provider_id=provider_id)


def report(plot: Plot, at: float, options: Options) -> None:
    """Report the creator's next advertisement outside, or with `seen` one told before."""
    number = int(options["number"])
    name = f"vio-{plot.creator.creator_id}-{number}"
    evidence = talk.SEEN[number % len(talk.SEEN)] + ("（补充截图）" if "other" in options else "")
    sighting = {"url": f"https://weibo.example/p/{name}", "seen_at": shanghai_text(plot.start)}
    subject = {"violation_id": name, "creator_id": plot.creator.creator_id}
    plot.say(at, "report_violation", CONSOLE, **subject, **sighting, evidence=evidence)


def overturn(plot: Plot, at: float, options: Options) -> None:
    name = f"vio-{plot.creator.creator_id}-{options['number']}"
    reason = plot.pick(talk.OVERTURNED)
    plot.say(at, "overturn_violation", OPERATOR, violation_id=name, reason=reason)


def leave(plot: Plot, at: float, options: Options) -> None:
    """End the creator's contract, at the creator's own wish or the platform's."""
    own = ("creator", plot.creator.creator_id)
    by, reason = (CONSOLE, None) if options.get("by") == "platform" else (own, plot.pick(talk.LEFT))
    plot.say(at, "end_contract", by, creator_id=plot.creator.creator_id, reason=reason)


VERBS: dict[str, Verb] = {
    "switch": switch,
    "appoint": appoint,
    "report": report,
    "overturn": overturn,
    "leave": leave,
}
