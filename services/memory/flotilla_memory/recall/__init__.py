"""How memories are made of turns, and how the ones that matter are found again."""
