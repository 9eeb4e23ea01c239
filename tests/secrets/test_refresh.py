"""Rotation while the process runs: read all, build, swap; what is of no use changes nothing."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url, text

from core.encryption import EncryptionKeyProvider, current_keyring
from core.errors import ConfigurationError
from core.resources import open_resources
from core.secrets import get_secret, secrets_manager
from core.secrets.names import SecretName
from core.settings import load_settings


@pytest.fixture
def files(settings, tmp_path, monkeypatch):
    """The secrets as files, the environment without them."""
    values = {
        "encryption_key": EncryptionKeyProvider.generate_key(),
        "plaid_secret": "plaid-one",
        "jwt_signing_key": "j1",
    }
    for name, value in values.items():
        (tmp_path / name).write_text(value)
    for variable in ("MANNA_ENCRYPTION_KEY", "PLAID_SECRET", "JWT_SIGNING_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SECRETS_PROVIDER", "file")
    monkeypatch.setenv("SECRETS_DIRECTORY", str(tmp_path))
    return tmp_path


@pytest.fixture
async def opened(files, settings):
    async with open_resources(settings) as resources:
        yield resources


async def test_every_secret_is_followed_without_a_restart(opened, files):
    old, new = current_keyring(), EncryptionKeyProvider.generate_key()
    (files / "encryption_keys_previous").write_text((files / "encryption_key").read_text())
    (files / "encryption_key").write_text(new)
    (files / "plaid_secret").write_text("plaid-two")
    (files / "jwt_signing_key").write_text("j2")
    sealed = old.seal("a token", b"place")
    assert get_secret("jwt_signing_key") == "j1"  # the process holds what it started with until it has looked
    changed = await opened.secrets.refresh()
    assert changed == ("encryption_key", "encryption_keys_previous", "jwt_signing_key", "plaid_secret")
    assert get_secret("jwt_signing_key") == "j2"
    assert current_keyring() is not old
    assert current_keyring().open(sealed, b"place") == "a token"
    assert opened.plaid._api.configuration.api_key["secret"] == "plaid-two"


async def test_a_refresh_that_is_of_no_use_changes_nothing(opened, files):
    before = current_keyring()
    (files / "encryption_key").write_text("half a ke")
    (files / "jwt_signing_key").write_text("j2")
    assert await opened.secrets.refresh() == ()
    assert current_keyring() is before
    assert get_secret("jwt_signing_key") == "j1"


async def test_syncs_under_way_use_one_keyring_while_it_is_swapped(opened, files):
    keyring = current_keyring()

    async def seal_and_open():
        for _ in range(50):
            sealed = current_keyring().seal("a token", b"place")
            await asyncio.sleep(0)
            assert current_keyring().open(sealed, b"place") == "a token"

    async def rotate():
        for _ in range(5):
            (files / "encryption_keys_previous").write_text(
                ",".join([(files / "encryption_key").read_text(), previous()]).rstrip(",")
            )
            (files / "encryption_key").write_text(EncryptionKeyProvider.generate_key())
            await opened.secrets.refresh()

    def previous():
        path = files / "encryption_keys_previous"
        return path.read_text() if path.exists() else ""

    await asyncio.gather(rotate(), *(seal_and_open() for _ in range(4)))
    assert current_keyring() is not keyring


async def test_the_database_s_password_is_rotated_and_no_task_fails(files, settings, monkeypatch):
    """Through the whole chain: role, secret's file, provider, pool."""
    admin = await asyncpg.connect(settings.database_url)
    role = f"r_{uuid4().hex}"
    await admin.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'first'; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"
    )
    (files / "database_password").write_text("first\n")
    url = make_url(settings.database_url)._replace(username=role, password=None)
    monkeypatch.setenv("DATABASE_URL", url.render_as_string())
    async with open_resources(load_settings()) as resources:

        async def task():
            async with resources.database.connection() as connection:
                await connection.execute(text("SELECT count(*) FROM plaid_items"))

        for password in ("second", "third"):
            await admin.execute(f"ALTER ROLE {role} PASSWORD '{password}'")
            await resources.database.close()  # an empty pool: every task has to log in
            tasks = [asyncio.create_task(task()) for _ in range(8)]
            await asyncio.sleep(0)
            (files / "database_password").write_text(password)
            await asyncio.gather(*tasks)
    await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await admin.close()


async def test_nothing_is_held_once_the_process_is_closed(files, settings):
    async with open_resources(settings):
        (files / "jwt_signing_key").write_text("j2")
        assert get_secret("jwt_signing_key") == "j1"
    assert get_secret("jwt_signing_key") == "j2"


async def test_a_process_does_not_start_without_a_key(files, settings):
    (files / "encryption_key").unlink()
    with pytest.raises(ConfigurationError, match="Encryption not initialized"):
        async with open_resources(settings):
            pass
    assert secrets_manager.look_up(SecretName.ENCRYPTION_KEY, required=False) is None


async def test_whatever_a_provider_comes_up_with_the_refresh_goes_on(opened, files, monkeypatch):
    (files / "plaid_secret").write_text("plaid-two")
    answers = [ValueError("a proxy's page"), secrets_manager.read]

    def read():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer()

    with monkeypatch.context() as odd:
        odd.setattr(secrets_manager, "read", read)
        running = asyncio.create_task(opened.secrets.run(0))
        async with asyncio.timeout(20):
            while get_secret("plaid_secret") != "plaid-two" and not running.done():  # noqa: ASYNC110 - a thread's work
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
    assert get_secret("plaid_secret") == "plaid-two"
