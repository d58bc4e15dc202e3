"""Real servers and small stand-ins that tests of every package share."""
