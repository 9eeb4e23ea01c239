"""What travels on the queues, and who puts it there."""
