"""Runs the command: `python -m flotilla_cli`."""

from flotilla_cli.main import main

if __name__ == "__main__":
    main()
