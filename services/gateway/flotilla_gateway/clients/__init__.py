"""What the gateway calls, one file a peer."""
