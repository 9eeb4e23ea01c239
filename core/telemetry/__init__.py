"""What the outside may see of the inside: logs without secrets."""
