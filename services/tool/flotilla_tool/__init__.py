"""The tool service: validates and invokes tools."""
