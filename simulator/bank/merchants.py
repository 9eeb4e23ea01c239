"""The shops, institutions and account kinds that made-up data is drawn from."""

from typing import NamedTuple


class Merchant(NamedTuple):
    """One counterparty with what Plaid would say about it."""

    name: str
    description: str
    category: str
    detail: str
    channel: str
    typical_cents: int
    city: str | None
    website: str | None


class Institution(NamedTuple):
    """A bank as /item/get names it."""

    institution_id: str
    name: str


INSTITUTIONS = (
    Institution("ins_109508", "First Platypus Bank"),
    Institution("ins_109509", "First Gingham Credit Union"),
    Institution("ins_109510", "Tattersall Federal Credit Union"),
    Institution("ins_109511", "Tartan Bank"),
    Institution("ins_109512", "Houndstooth Bank"),
)

BY_ID = {institution.institution_id: institution for institution in INSTITUTIONS}

MERCHANTS = (
    Merchant("Café Zürich", "CAFÉ ZÜRICH 0012", "FOOD_AND_DRINK", "COFFEE", "in store", 640, "Oakland", None),
    Merchant("Trader Moe's", "TRADER MOES #552", "FOOD_AND_DRINK", "GROCERIES", "in store", 8250, "San Jose", None),
    Merchant("寿司 Hana", "SUSHI HANA 寿司", "FOOD_AND_DRINK", "RESTAURANT", "in store", 4120, "New York", None),
    Merchant("Señor Taco 🌮", "SQ *SENOR TACO", "FOOD_AND_DRINK", "FAST_FOOD", "in store", 1375, "Austin", None),
    Merchant(
        "Amazonia",
        "AMZNIA MKTPL*2K4",
        "GENERAL_MERCHANDISE",
        "ONLINE_MARKETPLACES",
        "online",
        3599,
        None,
        "amazonia.example",
    ),
    Merchant(
        "Metro Transit",
        "METRO TRANSIT FARE",
        "TRANSPORTATION",
        "PUBLIC_TRANSIT",
        "in store",
        275,
        "Seattle",
        None,
    ),
    Merchant("Unter", "UNTER *TRIP", "TRANSPORTATION", "TAXIS_AND_RIDE_SHARES", "online", 1860, None, "unter.example"),
    Merchant(
        "Pacific Power & Gas",
        "PPG WEB ONLINE",
        "RENT_AND_UTILITIES",
        "GAS_AND_ELECTRICITY",
        "other",
        11250,
        None,
        "ppg.example",
    ),
    Merchant("Streamly", "STREAMLY.COM", "ENTERTAINMENT", "TV_AND_MOVIES", "online", 1599, None, "streamly.example"),
    Merchant("ACME GmbH", "ACME GMBH PAYROLL PPD", "INCOME", "WAGES", "other", -215000, None, "acme.example"),
    Merchant("Œuvre Books", "OEUVRE BOOKS", "GENERAL_MERCHANDISE", "BOOKSTORES", "in store", 2890, "Paris", None),
    Merchant("Аптека №7", "APTEKA 7 RX", "MEDICAL", "PHARMACIES_AND_SUPPLEMENTS", "in store", 1945, "Brooklyn", None),
)

# Whom a transaction that is made by hand is with, where nothing else is said.
NOBODY = Merchant("", "", "GENERAL_MERCHANDISE", "OTHER_GENERAL_MERCHANDISE", "other", 0, None, None)

# Name, official name, type, subtype, currency. The third is not in US dollars.
ACCOUNT_KINDS = (
    ("Plaid Checking", "Plaid Gold Standard 0% Interest Checking", "depository", "checking", "USD"),
    ("Plaid Credit Card", "Plaid Diamond 12.5% APR Interest Credit Card", "credit", "credit card", "USD"),
    ("Compte épargne", "Plaid Épargne Européenne", "depository", "savings", "EUR"),
    ("Plaid Saving", "Plaid Silver Standard 0.1% Interest Saving", "depository", "savings", "USD"),
)
