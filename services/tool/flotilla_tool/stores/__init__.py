"""Where the ledger of invocations is kept."""
