"""What every request passes, in pure ASGI: ids and headers, errors, bounds of bodies."""
