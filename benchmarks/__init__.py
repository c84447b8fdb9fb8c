"""Timings and memory on the machine at hand: ``make bench``."""
