"""Many calls over few long-lived streams: the same calls, at a fraction of what a stream of its own costs each."""
