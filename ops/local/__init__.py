"""Local: every process of Earnest on one machine, started, watched and stopped."""
