"""Asks, within bounds. Each module returns facts, or raises what says why there are none."""
