"""What every Flotilla service shares."""
