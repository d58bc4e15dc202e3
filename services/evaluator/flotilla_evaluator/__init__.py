"""The evaluator: stores what it observes and scores it."""
