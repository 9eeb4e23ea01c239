"""Writes `docs/reference/settings.md` from the code: `python -m scripts.settings_reference`."""

import sys
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from core.secrets.manager import PROVIDERS
from core.secrets.names import SecretName, variable_of
from core.settings import ACCEPTABLE_RISKS, Settings, variable_name

PATH = Path(__file__).resolve().parents[1] / "docs" / "reference" / "settings.md"
INTRODUCTION = """# Settings

Made from the code by `python -m scripts.settings_reference`; a test compares the two. Every setting is an environment
variable; in development `.env` counts as well, and the environment wins. A wrong value stops every process at start
with one line that names the variable and what is accepted.

| variable | default | accepted | meaning |
|---|---|---|---|
"""
SECRETS = """
## Secrets

Looked up in the order of `SECRETS_PROVIDER` ({providers}). Each is the variable below, the variable
with `_FILE` that names a file, a file of the secret's name in `CREDENTIALS_DIRECTORY`, `SECRETS_DIRECTORY` or
`/run/secrets`, the AWS secret `AWS_SECRETS_PREFIX` + name, or the field of that name in Vault's document
`VAULT_MOUNT`/`VAULT_PATH`. Vault's
own log-in is `VAULT_TOKEN`, or `VAULT_ROLE_ID` with `VAULT_SECRET_ID` (each also as `_FILE`), or
`VAULT_KUBERNETES_ROLE`; AWS's is boto3's own.

| secret | variable |
|---|---|
"""
RISKS = """
## Risks that production accepts by name

Production refuses to start with a guard off, unless `MANNA_ACCEPT_RISK` names it, comma-separated:

{risks}

`DATABASE_TLS_VERIFICATION` accepts `sslmode=require` or `verify-ca`, `REDIS_TLS` accepts `redis://` and
`sentinel://`, `BROKER_TLS` accepts `amqp://`.
"""


def render() -> str:
    """Return the page."""
    rows = "".join(_row(name, field) for name, field in Settings.model_fields.items())
    secrets = "".join(f"| `{name.value}` | `{variable_of(name)}` |\n" for name in SecretName)
    risks = "\n".join(f"- `{risk}`" for risk in ACCEPTABLE_RISKS)
    return INTRODUCTION + rows + SECRETS.format(providers=", ".join(PROVIDERS)) + secrets + RISKS.format(risks=risks)


def _row(name: str, field: FieldInfo) -> str:
    return f"| `{variable_name(name)}` | {_default(field)} | {_accepted(field)} | {field.description or ''} |\n"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "`true` in production, else `false`"
    value: Any = field.default.value if isinstance(field.default, Enum) else field.default
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`" if value not in {"", None} else "none"


def _accepted(field: FieldInfo) -> str:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{each.value}`" for each in kind)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(kind))
    if kind is bool:
        return "`true`, `false`"
    if get_origin(kind) is tuple:
        return "a list with commas"
    return _range(field) or ("a number" if kind in {int, float} else "text")


def _range(field: FieldInfo) -> str:
    bounds = []
    for each in field.metadata:
        if isinstance(each, annotated_types.Ge):
            bounds.append(f"from {_number(each.ge)}")
        elif isinstance(each, annotated_types.Gt):
            bounds.append(f"above {_number(each.gt)}")
        elif isinstance(each, annotated_types.Le):
            bounds.append(f"to {_number(each.le)}")
    return " ".join(bounds)


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def main() -> int:
    """Write the page."""
    PATH.write_text(render(), encoding="utf-8")
    print(f"wrote {PATH.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
