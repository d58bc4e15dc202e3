"""The platform on one machine: which processes there are, and how they are started, shown and stopped."""
