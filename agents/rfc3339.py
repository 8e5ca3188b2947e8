"""The times of RFC 3339, as a type for models."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Time = Annotated[
    str,
    Meta(
        pattern=r"(?a)^(?!....-(?:02-3|(?:0[2469]|11)-31))"  # how long months are
        r"(?!..(?:[02468][1235679]|[13579][01345789])-02-29|(?:[02468][1235679]|[13579][01345789])00-02-29)"  # and which years leap
        r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])[Tt ](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
        r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)\Z"
    ),
]
"""A time with a zone, kept as it was written. As `datetime`, msgspec would also take `+0100`, which RFC 3339 does not know, and
refuse leap seconds, which it does."""
