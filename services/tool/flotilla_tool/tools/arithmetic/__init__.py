"""Arithmetic on exact fractions, bounded in size and time: what the calculator is made of."""
