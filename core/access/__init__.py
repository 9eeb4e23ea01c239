"""Who may ask for what: scopes, and the signed tokens that carry them."""
