"""Applies the gateway's migrations: `python -m flotilla_gateway.migrate`."""

from flotilla_common.migrations import main

if __name__ == "__main__":
    main(package="flotilla_gateway", schema="gateway")
