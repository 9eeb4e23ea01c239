"""What `celery -A worker` loads."""

from worker.app import app

__all__ = ["app"]
