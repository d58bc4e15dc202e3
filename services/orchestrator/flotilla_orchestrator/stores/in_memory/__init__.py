"""Stores in memory: the reference for the suites, and what tests of the rooms above run on."""
