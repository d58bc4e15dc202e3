"""Parts of the platform measured by themselves, each beside what it took the place of."""
