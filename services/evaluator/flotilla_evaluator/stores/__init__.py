"""Where observed runs and their scores are kept."""
