"""Service: commands handled within a unit of work, once each; still pure of I/O and of clocks."""
