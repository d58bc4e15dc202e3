"""The operations API: runs of every wire, API keys, memories and tools, beside the OpenAI wire under `/v1`."""
