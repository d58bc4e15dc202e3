"""How much a credential may ask for: one limit for all replicas."""
