"""Plaid over HTTP: the calls, the shapes of their answers, the meaning of their errors, the proof of a webhook."""
