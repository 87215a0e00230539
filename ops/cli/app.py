"""App: the command line `earnest`, for people who run it, feed it and watch it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from models.errors import EarnestError, InvalidPolicy
from ops import terminal
from ops.cli import commands
from ops.cli.commands import LazyParser
from ops.errors import UsageError
from ops.local.process import StartupError
from workers.settings import Settings, SettingsError

ABOUT = """\
Earnest settles orders that carry an earnest-money deposit: commands come in through Redis,
workers judge them, a scheduler makes time pass, every fen is booked twice.

New here?   earnest demo                      watch a campaign of 362 orders in under a minute
Try rules   earnest simulate STEPS.jsonl      no servers, no waiting
Run it      earnest up                        everything embedded under var/, Ctrl-C stops it
Feed it     earnest submit FILE.jsonl --wait
Look        earnest orders show ID            earnest books             http://127.0.0.1:8000/ops
Operate     earnest operate --help            earnest trail
"""

SETTINGS_HELP = """\
settings (as options, or as environment variables):
  --database-url  EARNEST_DATABASE_URL   postgresql://… or sqlite:///…   (default: SQLite in var/)
  --redis-url     EARNEST_REDIS_URL      redis://… rediss://… unix://…   (default: our own, in var/)
  --var           EARNEST_VAR            folder for all state            (default: var/)
  --policy        EARNEST_POLICY         JSON file with the rules' numbers
  no option       EARNEST_SIGNING_KEYS   id:base64,…  commands must be signed with one of these
                  EARNEST_EVENTS_KEPT    events that a stream keeps      (default: 1000000)
                  EARNEST_EVENTS_AGE     and for how long                (default: P7D)
                  EARNEST_ARCHIVE_AFTER  how long orders stay after their end, or `never`
                                         (default: P400D)
                  EARNEST_NAMESPACE      what all keys in Redis begin with, for two installations
                                         on one Redis                    (default: earnest)
                  EARNEST_WEB_BIND       where the web process listens   (default: 127.0.0.1:8000)
                  EARNEST_TOKENS         file of tokens, `role[/id] token` a line; wanted beyond
                                         this machine
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0 done, 1 refused or failed, 2 misused."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help()
        return 2
    try:
        settings = Settings.read(
            os.environ,
            database_url=options.database_url,
            redis_url=options.redis_url,
            var=options.var,
            policy=options.policy,
        )
        run: Callable[[Settings, argparse.Namespace], int] = options.run
        return run(settings, options)
    except (SettingsError, InvalidPolicy, UsageError) as error:
        return _print_error(error, 2)
    except (EarnestError, StartupError) as error:
        return _print_error(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has read enough; Python must not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _print_error(error: Exception, status: int) -> int:
    print(terminal.lines_without_controls(f"earnest: {error}"), file=sys.stderr)
    return status


def build_parser() -> argparse.ArgumentParser:
    """Describe the settings that all commands take, and each command as `commands` declares it."""
    # Suppressed: an option not given to a subcommand must not hide one given to its parent.
    settings = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = settings.add_argument_group("settings")
    group.add_argument("--database-url", metavar="URL", help="EARNEST_DATABASE_URL")
    group.add_argument("--redis-url", metavar="URL", help="EARNEST_REDIS_URL")
    group.add_argument("--var", metavar="FOLDER", help="EARNEST_VAR, default: var/")
    group.add_argument("--policy", metavar="FILE", help="EARNEST_POLICY, a JSON file")
    parser = argparse.ArgumentParser(
        prog="earnest",
        description=ABOUT,
        epilog=SETTINGS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=None, database_url=None, redis_url=None, var=None, policy=None)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=LazyParser)
    commands.register(subparsers, settings)
    return parser
