"""Items as operators handle them: registered, listed, shown."""
