"""Simulation: the rules on simulated time, and a pipeline held against them."""
