"""The page of the Python surface: what code of yours may import, with signatures and docstrings as they stand."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.encryption import EncryptedString, EncryptionKeyProvider
from core.locking import DistributedLock, OptimisticLockMixin, safe_cursor_update
from core.secrets import SecretsManager, get_secret
from core.settings import load_settings
from core.sync.sync_item import sync_item

NAME = "python.md"
HEAD = """# Python surface

Written from the code by `python -m scripts.reference`; a test holds it to the code.

What your own code may import, and what stays as it is from one version to the next. Whatever touches the database is
async. Everything else below `core` may change with any release.

```python
class PlaidItem(Base, OptimisticLockMixin):
    plaid_access_token = Column(EncryptedString(255), nullable=False)


success = await safe_cursor_update(session, plaid_item, new_cursor)
```
"""
SURFACE: tuple[tuple[str, Any], ...] = (
    ("core.encryption", EncryptedString),
    ("core.encryption", EncryptionKeyProvider),
    ("core.secrets", get_secret),
    ("core.secrets", SecretsManager),
    ("core.locking", OptimisticLockMixin),
    ("core.locking", DistributedLock),
    ("core.locking", safe_cursor_update),
    ("core.audit", log_audit_event),
    ("core.audit", AuditContext),
    ("core.audit", AuditEventType),
    ("core.sync.sync_item", sync_item),
    ("core.settings", load_settings),
)
# Their members are a list, and a page of its own has it: audit-events.md.
LISTS = (AuditEventType, AuditContext)
INSTANCES: dict[type, str] = {SecretsManager: "The process's own is `core.secrets.secrets_manager`."}
# The rest of its methods are for the process that holds it.
SHOWN: dict[type, set[str]] = {SecretsManager: {"get", "get_database_url"}}


def page() -> str:
    """Return the page's text."""
    return "\n".join([HEAD, *(line for module, thing in SURFACE for line in _entry(module, thing))])


def _entry(module: str, thing: Any) -> Iterator[str]:
    yield f"## `{module}.{thing.__name__}`\n"
    if thing not in LISTS:
        yield f"```python\n{_signature(thing.__name__, thing)}\n```\n"
    yield f"{_text(thing)}\n"
    if thing in INSTANCES:
        yield f"{INSTANCES[thing]}\n"
    if inspect.isclass(thing) and thing not in LISTS:
        for name, member in _own_methods(thing):
            yield f"```python\n{_signature(name, member)}\n```\n\n{_text(member)}\n"


def _own_methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield what the class itself makes public, in its own order; what SQLAlchemy asks of a type is not for callers."""
    for name, member in vars(kind).items():
        plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if name.startswith(("_", "process_", "bind_", "column_", "coerce_")) or not inspect.isfunction(plain):
            continue
        if name in SHOWN.get(kind, {name}):
            yield name, plain


def _signature(name: str, thing: Any) -> str:
    """Return the call as a reader writes it: names of types, not where they live."""
    told = re.sub(r"<function (\w+) at \w+>", r"\1", str(inspect.signature(thing)))
    if inspect.isclass(thing):
        told = told.removesuffix(" -> None")
    before = "async def " if inspect.iscoroutinefunction(thing) else "class " if inspect.isclass(thing) else "def "
    return before + name + re.sub(r"(?:\b[a-z_]+\.)+(?=[A-Z])", "", told).replace("'", "")


def _text(thing: Any) -> str:
    """Return the docstring; its `Args:` and `Raises:` become lists."""
    lines: list[str] = []
    for line in (inspect.getdoc(thing) or "").splitlines():
        if re.fullmatch(r"(Args|Raises|Returns|Attributes):", line):
            lines += [f"**{line.removesuffix(':')}**", ""]
        elif found := re.match(r"    (\w[\w ,]*): (.*)", line):
            lines.append(f"- `{found[1]}`: {found[2]}")
        else:
            lines.append(f"  {line.strip()}" if line.startswith("    ") else line)
    return "\n".join(lines)
