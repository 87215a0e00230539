"""Command line: `earnest`; `app` builds it, `commands` lists its words."""
