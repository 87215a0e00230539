"""Command line: `earnest`; `app` builds the parser, `commands` lists its commands."""
