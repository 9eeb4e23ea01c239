"""Plaid's error codes with the type, status and sentence that belong to each."""

from simulator.errors import PlaidError

BAD_REQUEST, NOT_FOUND, RATE_LIMITED, SERVER_ERROR, UNAVAILABLE = 400, 404, 429, 500, 503

# Source: Plaid's error reference as kept in the project's protocol notes, section 5.
_TYPES: dict[tuple[str, int], tuple[str, ...]] = {
    ("TRANSACTIONS_ERROR", BAD_REQUEST): ("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION",),
    ("RATE_LIMIT_EXCEEDED", RATE_LIMITED): (
        "TRANSACTIONS_SYNC_LIMIT",
        "TRANSACTIONS_LIMIT",
        "TRANSACTIONS_REFRESH_LIMIT",
        "ACCOUNTS_LIMIT",
        "ACCOUNTS_BALANCE_GET_LIMIT",
        "BALANCE_LIMIT",
        "ITEM_GET_LIMIT",
        "RATE_LIMIT",
        "INSTITUTION_RATE_LIMIT",
        "CREDITS_EXHAUSTED",
    ),
    ("API_ERROR", SERVER_ERROR): ("INTERNAL_SERVER_ERROR",),
    ("API_ERROR", UNAVAILABLE): ("PLANNED_MAINTENANCE",),
    ("INSTITUTION_ERROR", BAD_REQUEST): (
        "INSTITUTION_DOWN",
        "INSTITUTION_NOT_RESPONDING",
        "INSTITUTION_NOT_AVAILABLE",
        "INSTITUTION_NO_LONGER_SUPPORTED",
        "UNSUPPORTED_RESPONSE",
        "UNAUTHORIZED_INSTITUTION",
        "INSTITUTION_REGISTRATION_REQUIRED",
        "INSTITUTION_NOT_ENABLED_IN_ENVIRONMENT",
    ),
    ("ITEM_ERROR", BAD_REQUEST): (
        "ITEM_LOGIN_REQUIRED",
        "ACCESS_NOT_GRANTED",
        "NO_ACCOUNTS",
        "ITEM_LOCKED",
        "USER_SETUP_REQUIRED",
        "PASSWORD_RESET_REQUIRED",
        "INVALID_CREDENTIALS",
        "INVALID_MFA",
        "INVALID_UPDATED_USERNAME",
        "ITEM_NOT_SUPPORTED",
        "MFA_NOT_SUPPORTED",
        "ITEM_NOT_FOUND",
        "ITEM_CONCURRENTLY_DELETED",
        "PRODUCT_NOT_READY",
        "PRODUCT_NOT_ENABLED",
        "PRODUCTS_NOT_SUPPORTED",
    ),
    ("INVALID_INPUT", BAD_REQUEST): (
        "INVALID_ACCESS_TOKEN",
        "INVALID_API_KEYS",
        "UNAUTHORIZED_ENVIRONMENT",
        "UNAUTHORIZED_ROUTE_ACCESS",
        "INVALID_PRODUCT",
        "INVALID_PUBLIC_TOKEN",
        "INVALID_ACCOUNT_ID",
        "INVALID_WEBHOOK_VERIFICATION_KEY_ID",
        "ADDITIONAL_CONSENT_REQUIRED",
        "USER_PERMISSION_REVOKED",
    ),
    ("INVALID_REQUEST", BAD_REQUEST): (
        "MISSING_FIELDS",
        "UNKNOWN_FIELDS",
        "INVALID_FIELD",
        "INVALID_BODY",
        "INVALID_HEADERS",
        "SANDBOX_ONLY",
    ),
    ("INVALID_REQUEST", NOT_FOUND): ("NOT_FOUND", "NO_LONGER_AVAILABLE"),
}
CODES = {code: kind for kind, codes in _TYPES.items() for code in codes}


def plaid_error(code: str, message: str | None = None) -> PlaidError:
    """Return the error of a code; one that Plaid does not know comes as an API_ERROR with status 500."""
    error_type, status = CODES.get(code, ("API_ERROR", SERVER_ERROR))
    return PlaidError(status, error_type, code, message or f"the simulator was told to answer {code}")
