from typing import Any

_DOCUMENTATION = "https://plaid.com/docs/?ref=error"


class PlaidError(Exception):
    """An answer that is Plaid's error object instead of a result."""

    def __init__(self, status: int, error_type: str, error_code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.error_code = error_code
        self.message = message
        self.display_message: str | None = None
        self.retry_after: int | None = None

    def document(self) -> dict[str, Any]:
        """Plaid's error object, without the request_id that the response adds."""
        return {
            "causes": [],
            "display_message": self.display_message,
            "documentation_url": f"{_DOCUMENTATION}#{self.error_type.lower()}-errors",
            "error_code": self.error_code,
            "error_code_reason": None,
            "error_message": self.message,
            "error_type": self.error_type,
            "suggested_action": None,
        }


def invalid_request(code: str, message: str, status: int = 400) -> PlaidError:
    """INVALID_REQUEST with the given code."""
    return PlaidError(status, "INVALID_REQUEST", code, message)


def missing_fields(*names: str) -> PlaidError:
    """INVALID_REQUEST/MISSING_FIELDS naming the fields as Plaid does."""
    return invalid_request("MISSING_FIELDS", f"the following required fields are missing: {', '.join(names)}")


def invalid_field(message: str) -> PlaidError:
    """INVALID_REQUEST/INVALID_FIELD."""
    return invalid_request("INVALID_FIELD", message)


def invalid_input(code: str, message: str) -> PlaidError:
    """INVALID_INPUT with the given code."""
    return PlaidError(400, "INVALID_INPUT", code, message)


def foreign_cursor() -> PlaidError:
    """The body that production gives for the cursor of another Item."""
    return invalid_field("cursor not associated with access_token")


def outdated_cursor() -> PlaidError:
    """A cursor that was good once. What Plaid says here is not known: this is the simulator's guess."""
    return invalid_field("cursor is no longer valid")


def mutation() -> PlaidError:
    """The ledger changed between two pages of one loop."""
    return PlaidError(
        400,
        "TRANSACTIONS_ERROR",
        "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION",
        "Underlying transaction data changed since last page was fetched. Please restart pagination from last update.",
    )


def item_not_found() -> PlaidError:
    """The Item was removed, or its user withdrew the permission."""
    return PlaidError(
        400,
        "ITEM_ERROR",
        "ITEM_NOT_FOUND",
        "The Item you requested cannot be found. This Item does not exist, has been previously removed "
        "via /item/remove, or has had access removed by the user.",
    )


def login_required() -> PlaidError:
    """The user must go through Link's update mode."""
    error = PlaidError(
        400,
        "ITEM_ERROR",
        "ITEM_LOGIN_REQUIRED",
        "the login details of this item have changed (credentials, MFA, or required user action) and a "
        "user login is required to update this information. use Link's update mode to restore the item to "
        "a good state",
    )
    error.display_message = "The user's login has changed. Please sign in again."
    return error


def user_permission_revoked() -> PlaidError:
    """The user took the permission back; the type is that of the webhook, the documentation lists another."""
    return PlaidError(400, "ITEM_ERROR", "USER_PERMISSION_REVOKED", "the end user has revoked permission to this Item")


def sandbox_error(code: str, message: str) -> PlaidError:
    """SANDBOX_ERROR with the given code."""
    return PlaidError(400, "SANDBOX_ERROR", code, message)


def item_error(error: PlaidError) -> dict[str, Any]:
    """Return an error as webhooks carry it: with a status and without a request_id."""
    return error.document() | {"status": error.status}


def rate_limited(code: str, scope: str) -> PlaidError:
    """RATE_LIMIT_EXCEEDED for an `item` or a `client`."""
    return PlaidError(
        429,
        "RATE_LIMIT_EXCEEDED",
        code,
        f"rate limit exceeded for attempts to access this {scope}. please try again later",
    )
