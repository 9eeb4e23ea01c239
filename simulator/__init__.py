"""A stand-alone Plaid server for tests and demonstrations: see README.md beside this file."""
