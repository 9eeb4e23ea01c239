"""The version that runs, as it tells it itself: an image holds no package whose metadata would say it."""

VERSION = "0.1.0"
