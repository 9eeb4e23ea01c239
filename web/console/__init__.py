"""The operators' console: pages made here, readable without a script, and no right that an API token would not give."""
