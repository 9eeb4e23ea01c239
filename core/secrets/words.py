"""What stands in example files, tutorials and lists of leaked passwords, and the ways along a keyboard."""

import re
from importlib import resources

# From the documentation of frameworks and databases, and the top of the published lists of leaked passwords.
KNOWN = resources.files(__package__).joinpath("words.txt").read_text(encoding="ascii").split()
LONG = "|".join(re.escape(word) for word in sorted(KNOWN, key=len, reverse=True) if len(word) > 3)  # noqa: PLR2004 - below
SHORT = "|".join(re.escape(word) for word in KNOWN if len(word) == 3)  # noqa: PLR2004 - below
# Three letters stand in any random text by chance: they are a word only where no letter or digit is beside them.
WORDS = re.compile(rf"{LONG}|(?<![a-z0-9])(?:{SHORT})(?![a-z0-9])")

ROWS = (
    "abcdefghijklmnopqrstuvwxyzabc",
    "01234567890123",
    "qwertyuiop",
    "qwertzuiopü",
    "azertyuiop",
    "asdfghjkl;",
    "zxcvbnm,./",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "!@#$%^&*()_+",
    "13579",
    "24680",
)
KEYBOARD = frozenset(
    row[start : start + 4] for line in ROWS for row in (line, line[::-1]) for start in range(len(row) - 3)
)
