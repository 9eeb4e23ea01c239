"""Reference pages written from the code: each module has a `NAME` of its page and a `page()` that returns its text."""
