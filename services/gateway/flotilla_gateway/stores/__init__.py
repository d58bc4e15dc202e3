"""What the gateway owns: tenants, users, API keys and the audit log."""
