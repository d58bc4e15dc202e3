"""The public wires: each folder is one API that clients already speak, and all are views of the same runs."""
