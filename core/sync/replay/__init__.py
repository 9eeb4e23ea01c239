"""Replay: Items whose syncs failed are synced again, at a rate, by whoever asks: console, API and command line.

A replay is a row and the Items that it chose; it survives every process. Beat's tick moves it on (`advance`), so no
worker's thread waits for its pace.
"""

from core.sync.replay.advance import advance
from core.sync.replay.from_journal import apply_recorded, refuse
from core.sync.replay.record import create_replay, find_replay, list_replays, resume, stop
from core.sync.replay.selection import Selection, preview

__all__ = [
    "Selection",
    "advance",
    "apply_recorded",
    "create_replay",
    "find_replay",
    "list_replays",
    "preview",
    "refuse",
    "resume",
    "stop",
]
