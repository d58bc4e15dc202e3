"""Figures about a running platform: every driver checks content, never only a status."""
