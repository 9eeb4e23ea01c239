"""What happened and what a person can do, for each code that Plaid documents or we have; by verdict for the others."""

from core.errors import Verdict

Texts = tuple[str, str]

BY_ITSELF = "Nothing: it is tried again by itself."
UPDATE_MODE = "Send the user through Link's update mode; the sync follows by itself."
LINK_ANEW = "Have the user link the account anew, or remove the Item here."
OUR_BUG = (
    "Plaid does not accept the request that we sent: a fault of this software, or of a proxy between.",
    "Report it with the request id; after an upgrade replay by this code.",
)
RATE_LIMITED = (
    "Plaid's rate limit was reached.",
    "Nothing; if it is the rule, lower PLAID_RATE_PER_CLIENT_PER_MINUTE or ask Plaid for a higher limit.",
)

BY_VERDICT: dict[Verdict, Texts] = {
    Verdict.RETRY_LATER: ("Something passing got in the way.", BY_ITSELF),
    Verdict.RESTART_PAGINATION: ("The Item's data kept changing while its pages were read.", BY_ITSELF),
    Verdict.RESTART_FROM_EMPTY_CURSOR: (
        "Plaid does not know the stored cursor any more.",
        "Nothing: the next sync pulls everything again.",
    ),
    Verdict.USER_MUST_ACT: ("The Item's owner has to log in or to consent again.", UPDATE_MODE),
    Verdict.ITEM_IS_GONE: ("The Item does not exist at Plaid any more, or its permission was revoked.", LINK_ANEW),
    Verdict.OPERATOR_MUST_ACT: (
        "Plaid or our own set-up refuses this: waiting alone does not help.",
        "Look the code up in Plaid's documentation, mend the cause, then replay by this code.",
    ),
    Verdict.INSTITUTION_IS_DOWN: (
        "The bank is not reachable through Plaid.",
        "Nothing: its Items are held back, one is tried, and all are released when it answers.",
    ),
}
OF_USERS: dict[str, Texts] = {
    "ITEM_LOGIN_REQUIRED": (
        "The bank wants the user to log in again: password, consent or second factor changed.",
        UPDATE_MODE,
    ),
    "ACCESS_NOT_GRANTED": ("The user did not grant access to transactions at the bank.", UPDATE_MODE),
    "NO_ACCOUNTS": ("The user shares no account, or the bank has closed all of them.", UPDATE_MODE),
    "ADDITIONAL_CONSENT_REQUIRED": ("The user has not consented to transactions yet.", UPDATE_MODE),
    **dict.fromkeys(
        ["ITEM_LOCKED", "USER_SETUP_REQUIRED", "PASSWORD_RESET_REQUIRED"],
        (
            "The bank has locked the user's log-in, or wants something done at its own site first.",
            "Ask the user to put it right at the bank, then send them through Link's update mode.",
        ),
    ),
    **dict.fromkeys(
        ["INVALID_CREDENTIALS", "INVALID_MFA"],
        ("The bank did not accept the user's password or second factor.", UPDATE_MODE),
    ),
    "INVALID_UPDATED_USERNAME": (
        "The user gave another user name than the Item was linked with.",
        "Have the user link the bank anew, and remove this Item here.",
    ),
    **dict.fromkeys(
        ["ITEM_NOT_SUPPORTED", "MFA_NOT_SUPPORTED"],
        (
            "Plaid cannot read this kind of account, or not with this second factor.",
            "Have the user link the bank anew with another account or factor, and remove this Item here.",
        ),
    ),
}
OF_OPERATORS: dict[str, Texts] = {
    "INVALID_API_KEYS": (
        "Plaid does not accept our client id and secret.",
        "Check PLAID_CLIENT_ID, PLAID_SECRET and PLAID_ENV; everything is held back until one sync succeeds.",
    ),
    "UNAUTHORIZED_ENVIRONMENT": (
        "Our keys are not for this Plaid environment.",
        "Check PLAID_ENV; everything is held back until one sync succeeds.",
    ),
    "UNAUTHORIZED_ROUTE_ACCESS": (
        "Our Plaid account may not use this endpoint.",
        "Have Plaid enable Transactions; everything is held back until one sync succeeds.",
    ),
    "INVALID_ACCESS_TOKEN": (
        "Plaid does not know the access token in this environment.",
        "Check PLAID_ENV and where the Item was imported from; else have the user link anew.",
    ),
    "ACCESS_TOKEN_LOST": (
        "Plaid replaced the access token, and its answer with the new one never arrived or was never stored.",
        "Have the user link the account anew: the old token is dead, and Plaid tells a new one once.",
    ),
    "ACCESS_TOKEN_REPLACED": (
        "The access token had just been replaced; the new one was stored.",
        "Nothing: it is tried again with the new one.",
    ),
    "CREDITS_EXHAUSTED": (
        "The Plaid account's credits are used up.",
        "Settle it with Plaid, then replay by this code.",
    ),
    **dict.fromkeys(
        ["INVALID_PRODUCT", "PRODUCT_NOT_ENABLED", "PRODUCTS_NOT_SUPPORTED"],
        (
            "Transactions are not enabled for our Plaid account or this Item, or the bank does not offer them.",
            "Have Plaid enable Transactions, then replay by this code; where the bank has none, remove the Item here.",
        ),
    ),
    **dict.fromkeys(
        ["INSTITUTION_NO_LONGER_SUPPORTED", "UNSUPPORTED_RESPONSE"],
        (
            "Plaid cannot read this bank any more.",
            "Waiting does not help: ask Plaid's support with the request id; if it stays, remove the Item here.",
        ),
    ),
    **dict.fromkeys(
        ["UNAUTHORIZED_INSTITUTION", "INSTITUTION_REGISTRATION_REQUIRED", "INSTITUTION_NOT_ENABLED_IN_ENVIRONMENT"],
        (
            "Our Plaid account may not use this bank yet.",
            "Register for the bank in Plaid's dashboard, then replay by this code.",
        ),
    ),
    **dict.fromkeys(
        [
            "MISSING_FIELDS", "UNKNOWN_FIELDS", "INVALID_BODY", "INVALID_HEADERS", "SANDBOX_ONLY", "NOT_FOUND",
            "NO_LONGER_AVAILABLE", "INVALID_ACCOUNT_ID", "INVALID_PUBLIC_TOKEN",
        ],
        OUR_BUG,
    ),
}  # fmt: skip
OF_PLAIDS: dict[str, Texts] = {
    "INTERNAL_SERVER_ERROR": ("Plaid had a fault of its own.", BY_ITSELF),
    "PLANNED_MAINTENANCE": ("Plaid is under maintenance.", BY_ITSELF),
    "PRODUCT_NOT_READY": ("Plaid is still fetching the Item's first transactions.", BY_ITSELF),
    **dict.fromkeys(
        ["TRANSACTIONS_SYNC_LIMIT", "TRANSACTIONS_LIMIT", "RATE_LIMIT", "INSTITUTION_RATE_LIMIT"], RATE_LIMITED
    ),
    "PAGINATION_DOES_NOT_ADVANCE": (
        "Plaid answered with the cursor that it was asked with, and said that there is more.",
        "Nothing; if it stays, ask Plaid's support with the request id.",
    ),
    "MALFORMED_ANSWER": (
        "What came from Plaid's address was not Plaid's answer.",
        "Nothing; if it stays, look at the proxy or PLAID_BASE_URL.",
    ),
    "CURSOR_MISSING": (
        "Plaid told of changes without a cursor, so that they could not be stored safely.",
        "Nothing; if it stays, ask Plaid's support with the request id.",
    ),
    "HISTORY_INCOMPLETE": (
        "Plaid gave less of the history than it had before; stored, the rest would have counted as removed.",
        "Nothing; if it stays, ask Plaid's support with the request id.",
    ),
    "UNSTORABLE_ANSWER": (
        "PostgreSQL cannot take the answer, and no single entry of it is to blame.",
        "If it stays, report it with the request id; nothing of the answer was stored.",
    ),
    "CURSOR_REFUSED_AGAIN": (
        "Plaid refused the cursor again within a day of a full pull.",
        "Ask Plaid's support with the request id; `manna items reconcile ID` shows what differs.",
    ),
}
OF_OURS: dict[str, Texts] = {
    "DECRYPTION_FAILED": (
        "The stored access token does not open with the keys that this process has.",
        "Put the key that sealed it into MANNA_ENCRYPTION_KEYS_PREVIOUS, restart, then replay by this code.",
    ),
    "WORKER_LOST": ("The worker died or was killed during the sync.", "Nothing: the Item is due again."),
    "TIME_LIMIT_REACHED": (
        "The sync took longer than SYNC_TIME_LIMIT_SECONDS.",
        "If it happens again to the same Item, raise the limit and replay it.",
    ),
    "LEASE_LOST": (
        "Another worker has the Item's lease: this one stood still, or Redis forgot it.",
        "Nothing: it is tried again.",
    ),
    "STAGED_ROWS_LOST": ("PostgreSQL restarted while a large update was being prepared.", BY_ITSELF),
    "OUTBOUND_BUDGET": (
        "Plaid's rate limit was used up by other Items.",
        "Nothing; if it is the rule, ask Plaid for a higher limit and raise PLAID_RATE_PER_CLIENT_PER_MINUTE.",
    ),
    "JOURNAL_UNREADABLE": (
        "The recorded pages of the run do not open: they are not whole, or their key is not here.",
        "Replay the Item without the journal: Plaid is asked for the same changes.",
    ),
}
# An error that nobody foresaw, by its type.
UNEXPECTED: Texts = (
    "Something failed here that nobody foresaw; nothing was stored. The worker's log has it by the run's id.",
    "Mend the cause the log names; it is tried again by itself, and `manna doctor` tells what is away.",
)
BY_CODE = {**OF_USERS, **OF_OPERATORS, **OF_PLAIDS, **OF_OURS}
