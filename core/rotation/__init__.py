"""Changing keys while the service runs: staged promotion, online re-encryption, and the proof at its end."""
