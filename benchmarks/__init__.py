"""Measurements, and the rivals they are made against; each file says how to run it."""
