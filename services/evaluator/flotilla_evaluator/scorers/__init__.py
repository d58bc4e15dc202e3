"""What a finished run is measured by: one file for each scorer."""
