"""Operate: what operators may do, tried out, done to many orders at once, and shown."""
