from datetime import date, timedelta
from functools import lru_cache
from random import Random
from typing import Any

from simulator.bank.identifiers import Identifiers
from simulator.bank.ledger import Entry
from simulator.bank.merchants import ACCOUNT_KINDS, MERCHANTS, NOBODY, Merchant
from simulator.json_codec import encode

HISTORY_DAYS = 730
_PENDING_DAYS = 4
_STILL_PENDING = 0.5
_FINE_AMOUNTS = 0.02
_UNOFFICIAL = 0.01
_OWN = (
    b'{"transaction_id":"%(transaction_id)b","account_id":"%(account_id)b","amount":%(amount)b,"pending":%(pending)b,'
    b'"pending_transaction_id":null,%(currencies)b,"date":"%(date)b","authorized_date":"%(authorized_date)b",'
    b'"datetime":%(datetime)b,"authorized_datetime":%(authorized_datetime)b'
)
_LOGOS = "https://plaid-merchant-logos.plaid.com"
_ICONS = "https://plaid-category-icons.plaid.com"
_LOCATION = dict.fromkeys(("address", "city", "region", "postal_code", "country", "lat", "lon", "store_number"))
_PAYMENT_META = dict.fromkeys(
    (
        "reference_number",
        "ppd_id",
        "payee",
        "by_order_of",
        "payer",
        "payment_method",
        "payment_processor",
        "reason",
    )
)


def make_accounts(identifiers: Identifiers, count: int) -> list[dict[str, Any]]:
    """Return `count` accounts as /accounts/get gives them, each of the next kind in the list."""
    return [_account(identifiers.plaid_id(), index) for index in range(count)]


def _account(account_id: str, index: int) -> dict[str, Any]:
    name, official, kind, subtype, currency = ACCOUNT_KINDS[index % len(ACCOUNT_KINDS)]
    credit = kind == "credit"
    return {
        "account_id": account_id,
        "balances": {
            "available": None if credit else 1200.5 + index,
            "current": 410.0 if credit else 1310.25 + index,
            "limit": 2000 if credit else None,
            "iso_currency_code": currency,
            "unofficial_currency_code": None,
        },
        "holder_category": "personal",
        "mask": f"{index * 1111 % 10000:04}",
        "name": name,
        "official_name": official,
        "persistent_account_id": f"persistent-{account_id}",
        "subtype": subtype,
        "type": kind,
    }


class TransactionSource:
    """An endless, seeded supply of transactions; only their ids do not depend on the seed."""

    def __init__(self, random: Random, identifiers: Identifiers, today: date) -> None:
        self._random = random
        self._identifiers = identifiers
        self._days = _iso_days(today)

    def history(self, accounts: list[dict[str, Any]], count: int) -> list[tuple[int, Entry]]:
        """Return `count` transactions over two years by age in days, oldest first; the newest are partly pending."""
        ages = sorted((int(self._random.random() * HISTORY_DAYS) for _ in range(count)), reverse=True)
        return [(age, self.one(accounts, age, pending=self._is_pending(age))) for age in ages]

    def one(self, accounts: list[dict[str, Any]], age: int, *, pending: bool) -> Entry:
        """Return one transaction that is `age` days old, its JSON put together without a document in between."""
        draw = self._random.random
        account = accounts[int(draw() * len(accounts))]
        merchant = MERCHANTS[int(draw() * len(MERCHANTS))]
        transaction_id, day = self._identifiers.plaid_id(), self._days[age]
        authorized = self._days[min(age + (0 if pending else 1), HISTORY_DAYS)]
        is_timed = merchant.channel == "online"
        own = _OWN % {
            b"transaction_id": transaction_id.encode(),
            b"account_id": account["account_id"].encode(),
            b"amount": b"%r" % self._amount(merchant),
            b"pending": b"true" if pending else b"false",
            b"currencies": self._currencies(account["balances"]["iso_currency_code"]),
            b"date": day,
            b"authorized_date": authorized,
            b"datetime": b'"%bT12:30:00Z"' % day if is_timed else b"null",
            b"authorized_datetime": b'"%bT11:01:00Z"' % authorized if is_timed else b"null",
        }
        original = encode(f"{merchant.description} {int(draw() * 1_000_000):06}")
        return Entry(transaction_id, account["account_id"], own, _common(merchant), original)

    def _is_pending(self, age: int) -> bool:
        return age < _PENDING_DAYS and self._random.random() < _STILL_PENDING

    def _amount(self, merchant: Merchant) -> float:
        cents = merchant.typical_cents * (0.5 + self._random.random())
        digits = 4 if self._random.random() < _FINE_AMOUNTS else 2
        return round(cents / 100, digits)

    def _currencies(self, currency: str) -> bytes:
        names = (b"null", b'"BTC"') if self._random.random() < _UNOFFICIAL else (b'"%b"' % currency.encode(), b"null")
        return b'"iso_currency_code":%b,"unofficial_currency_code":%b' % names


@lru_cache(maxsize=2)
def _iso_days(today: date) -> list[bytes]:
    return [(today - timedelta(days=age)).isoformat().encode() for age in range(HISTORY_DAYS + 1)]


def explicit_transaction(account: dict[str, Any], transaction_id: str, fields: dict[str, Any]) -> Entry:
    """Return a posted transaction with every documented field, of no known merchant, overlaid with `fields`."""
    document = _skeleton(NOBODY) | {
        "transaction_id": transaction_id,
        "account_id": account["account_id"],
        "pending": False,
        "pending_transaction_id": None,
        "iso_currency_code": account["balances"]["iso_currency_code"],
        "unofficial_currency_code": None,
        "datetime": None,
        "authorized_datetime": None,
        **dict.fromkeys(("merchant_name", "merchant_entity_id", "logo_url")),
    }
    document |= {"counterparties": []} | fields
    return Entry.of(document, encode(document["name"]))


@lru_cache(maxsize=64)
def _common(merchant: Merchant) -> bytes:
    return b"," + encode(_skeleton(merchant))[1:]


@lru_cache(maxsize=64)
def _skeleton(merchant: Merchant) -> dict[str, Any]:
    """Everything about a transaction that its merchant decides, and what is always the same. Copy before use."""
    entity = f"ent_{abs(merchant.typical_cents):08}{len(merchant.description):04}"
    logo = f"{_LOGOS}/merchant_{abs(merchant.typical_cents)}.png"
    return {
        "account_owner": None,
        "category": None,
        "category_id": None,
        "check_number": None,
        "counterparties": _counterparties(merchant, entity, logo),
        "location": _location(merchant),
        "logo_url": logo,
        "merchant_entity_id": entity,
        "merchant_category_code": None,
        "merchant_name": merchant.name,
        "name": merchant.description,
        "payment_channel": merchant.channel,
        "payment_meta": _payment_meta(merchant),
        "personal_finance_category": _category(merchant),
        "personal_finance_category_icon_url": f"{_ICONS}/PFC_{merchant.category}.png",
        "transaction_code": None,
        "transaction_type": {"in store": "place", "online": "digital"}.get(merchant.channel, "special"),
        "website": merchant.website,
    }


def _counterparties(merchant: Merchant, entity: str, logo: str) -> list[dict[str, Any]]:
    common = {"website": merchant.website, "logo_url": logo, "confidence_level": "VERY_HIGH"}
    seller = {"name": merchant.name, "type": "merchant", "entity_id": entity, **common}
    terminal = {"name": "Kvadrat", "type": "payment_terminal", "entity_id": f"{entity}t", **common}
    return [seller, terminal] if merchant.channel == "in store" else [seller]


def _location(merchant: Merchant) -> dict[str, Any]:
    if merchant.city is None:
        return dict(_LOCATION)
    place = {"address": "300 Post St", "city": merchant.city, "region": "CA", "postal_code": "94108"}
    return {**_LOCATION, **place, "country": "US", "lat": 40.740352, "lon": -74.001761, "store_number": "1235"}


def _payment_meta(merchant: Merchant) -> dict[str, Any]:
    if merchant.category != "INCOME":
        return dict(_PAYMENT_META)
    wire = {"payer": merchant.name, "payment_method": "ACH", "ppd_id": "1234567890", "reason": "PAYROLL"}
    return {**_PAYMENT_META, **wire, "by_order_of": merchant.name, "reference_number": "REF-2201"}


def _category(merchant: Merchant) -> dict[str, Any]:
    detailed = f"{merchant.category}_{merchant.detail}"
    return {"primary": merchant.category, "detailed": detailed, "confidence_level": "VERY_HIGH", "version": "v2"}
