"""Service tests: command handlers over a unit of work in memory."""
