"""What Plaid tells us: verified, remembered once, turned into work."""
