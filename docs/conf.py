"""Sphinx's settings. `make docs` builds the pages with warnings as errors."""

import importlib.metadata

project = "Manna Sync"
author = "Manna Sync's engineers"
copyright = author  # noqa: A001 - Sphinx's name for it
release = importlib.metadata.version("manna-sync")

extensions = ["myst_parser"]
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = "Manna Sync"
html_static_path = ["_static"]
html_css_files = ["manna.css"]
html_show_sourcelink = False
# Console blocks are a reader's shell with what it prints: whatever they hold, no lexer takes all of it.
suppress_warnings = ["misc.highlighting_failure"]
