"""The line that an Item's changes travel, one room a step; `sync_item` is the way through."""
