"""Pure ASGI, one concern a file; `web.app` puts them in order."""
