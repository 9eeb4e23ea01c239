"""`manna`: what Celery's, Alembic's and the database's own tools lack. Each command is a thin call into core."""
