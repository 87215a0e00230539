"""Support: what tests share: stories, sample commands, clocks, servers and harnesses."""
