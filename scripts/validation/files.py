"""Files: nothing secret under version control, nothing that others may change."""

from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection


@check("files.dotenv_ignored", Severity.HIGH, "Add .env to .gitignore")
def dotenv_ignored(inspection: Inspection) -> str | None:
    """`.env` cannot be committed by mistake."""
    return (
        None if not inspection.files.ignored or ".env" in inspection.files.ignored else ".gitignore does not name .env"
    )


@check("files.no_secrets_tracked", Severity.CRITICAL, "git rm --cached it, and rotate what it holds")
def no_secrets_tracked(inspection: Inspection) -> str | None:
    """No `.env` is under version control."""
    tracked = [path for path in inspection.files.tracked if path.rpartition("/")[2] == ".env"]
    return f"under version control: {', '.join(tracked)}" if tracked else None


@check("files.no_private_keys_tracked", Severity.CRITICAL, "git rm it, and replace the key")
def no_private_keys_tracked(inspection: Inspection) -> str | None:
    """No private key is under version control."""
    found = inspection.files.private_keys
    return f"a private key lies in {', '.join(found)}" if found else None


@check("files.code_not_writable", Severity.HIGH, "chmod -R go-w the project's directory")
def code_not_writable(inspection: Inspection) -> str | None:
    """Other users cannot change what runs."""
    found = inspection.files.writable_code
    return f"every user may write {', '.join(found[:5])}" if found else None
