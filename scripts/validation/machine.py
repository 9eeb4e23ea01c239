"""Reads files, locks, interpreter and the web application: everything but the servers."""

import os
import re
import resource
import ssl
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

import httpx
from packaging.markers import Marker
from packaging.requirements import Requirement

from core.errors import MannaError, WebhookRejectedError
from core.plaid.webhook_keys import WebhookKeys
from core.plaid.webhook_verification import verify_webhook
from core.secrets.file import OTHERS, FileProvider
from core.secrets.names import SecretName
from core.settings import Settings
from scripts.validation.inspection import FileFacts, LockFacts, ProcessFacts, WebFacts

CODE = ("cli", "core", "migrations", "scripts", "tasks", "web", "worker")
LOCK, PROJECT = "locks/runtime.txt", "pyproject.toml"
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)")
MARKER = re.compile(r"^[^;\n]+; ([^\\\n]+?)\s*(?:--hash|$)", re.MULTILINE)
ADDRESS = re.compile(r"[a-z+]+://\S+")
PRIVATE_KEY = re.compile(rb"^-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{40}", re.MULTILINE)
KEY_FILES = (".pem", ".key", ".p12", ".env", ".py", ".yml", ".yaml", ".toml", ".json", ".txt", ".md", "")
LARGEST_BYTES = 512 * 1024


def read_files(root: Path, environ: Mapping[str, str]) -> FileFacts:
    """Return what the project's files are like."""
    dotenv, ignore = root / ".env", root / ".gitignore"
    tracked = _tracked(root)
    return FileFacts(
        dotenv.stat().st_mode if dotenv.exists() else None,
        tuple(ignore.read_text().split()) if ignore.exists() else (),
        tracked,
        tuple(path for path in tracked if _holds_private_key(root / path)),
        tuple(_readable_secrets(environ)),
        tuple(str(path.relative_to(root)) for path in _code(root) if path.stat().st_mode & stat.S_IWOTH),
    )


def _tracked(root: Path) -> tuple[str, ...]:
    # Not under git, as in an image: then nothing is tracked.
    command = ["git", "-C", str(root), "ls-files", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=False, timeout=10)  # noqa: S603 - fixed command
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(path for path in listed.stdout.decode().split("\0") if path) if listed.returncode == 0 else ()


def _holds_private_key(path: Path) -> bool:
    if path.suffix not in KEY_FILES or not path.is_file() or path.stat().st_size > LARGEST_BYTES:
        return False
    return PRIVATE_KEY.search(path.read_bytes()) is not None


def _readable_secrets(environ: Mapping[str, str]) -> Iterator[str]:
    provider = FileProvider(environ)
    for name in SecretName:
        found = provider.place_of(name)
        if found and found[1].is_file() and found[1].stat().st_mode & OTHERS:
            yield str(found[1])


def _code(root: Path) -> Iterator[Path]:
    for directory in CODE:
        yield from (root / directory).rglob("*.py")


def read_locks(root: Path) -> LockFacts | None:
    """Return the locked and the installed packages; None without a lock."""
    path, project = root / LOCK, root / PROJECT
    if not (path.exists() and project.exists()):
        return None
    blocks = re.split(r"\n(?=\S)", path.read_text().replace("\\\n", " "))
    pins = [(match, block) for block in blocks if (match := PINNED.match(block)) and _is_for_us(block)]
    return LockFacts(
        {_plain(match[1]): match[2] for match, _ in pins},
        tuple(match[1] for match, block in pins if "--hash=" not in block),
        tuple(ADDRESS.findall(path.read_text())),
        {_plain(found.metadata["Name"]): found.version for found in distributions()},
        tuple(_required(project)),
    )


def _is_for_us(block: str) -> bool:
    # One package may be pinned twice, for older and for newer interpreters.
    marker = MARKER.search(block)
    return marker is None or Marker(marker[1]).evaluate()


def _required(project: Path) -> Iterator[str]:
    # From the file, since an image holds the code but no package of it.
    for text in tomllib.loads(project.read_text("utf-8"))["project"]["dependencies"]:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate():
            yield _plain(requirement.name)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_process() -> ProcessFacts:
    """Return what the interpreter and the process are like."""
    umask = os.umask(0o077)
    os.umask(umask)
    return ProcessFacts(
        sys.version_info[:2],
        tuple(ssl.OPENSSL_VERSION_INFO[:2]),
        os.geteuid() == 0,
        resource.getrlimit(resource.RLIMIT_CORE)[0],
        sys.flags.optimize > 0,
        umask,
        tuple(sys.argv),
    )


async def ask_web(settings: Settings) -> tuple[WebFacts | None, dict[str, str]]:
    """Return what the web application answers in this process; it opens no connection for these questions."""
    from web.app import make_app  # noqa: PLC0415 - the import costs half a second, and only this needs it

    base = "https://validate.invalid"
    try:
        # The limits count in Redis, which is not asked here; that they are on is a check of the settings.
        unlimited = settings.model_copy(update={"rate_limiting_enabled": False})
        transport = httpx.ASGITransport(make_app(unlimited), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            live, missing = await client.get("/health/live"), await client.get("/no/such/page")
    except MannaError as error:
        return None, {"web": str(error)}
    answers = (live.status_code, dict(live.headers), dict(missing.headers), missing.text)
    return WebFacts(*answers, await _refuses_unsigned()), {}


async def _refuses_unsigned() -> bool:
    async def no_key(_kid: str) -> bytes:
        return b"{}"

    try:
        await verify_webhook(b"{}", None, WebhookKeys(no_key))
    except WebhookRejectedError:
        return True
    return False
