"""The reading side: pages of rows, newest first, each with a cursor to the next."""
