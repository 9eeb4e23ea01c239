"""The shapes of the API, as its description shows them; each with an example."""
