"""Following runs: one unbroken event log for the client, whatever happens to the streams behind it."""
