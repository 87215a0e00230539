"""Scheduler: makes time pass. It decides nothing; it says that it is time to look."""
