"""JSON in and out, with money kept exact: every fractional number is a Decimal."""

from decimal import Decimal
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder: "msgspec.json.Decoder[Any]" = msgspec.json.Decoder(float_hook=Decimal)

encode = _encoder.encode
decode = _decoder.decode


def indented(document: Any) -> bytes:
    """The document as Plaid writes webhook bodies: indented by two spaces."""
    return msgspec.json.format(encode(document), indent=2)
