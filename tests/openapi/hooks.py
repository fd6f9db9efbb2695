"""What schemathesis can't know of openapi.yaml by itself."""

import datetime
import ipaddress
import itertools

import schemathesis
from hypothesis import strategies as st

networks = st.from_type(ipaddress.IPv4Network) | st.from_type(ipaddress.IPv6Network)
schemathesis.openapi.format("ip-range", (st.ip_addresses() | networks).map(str))

# Later than 1970 and without leap seconds, which JSON Schema's date-time includes.
times = st.datetimes(min_value=datetime.datetime(1970, 1, 1)).map(lambda time: f"{time.isoformat()}Z")
schemathesis.openapi.format("date-time", times)

numbers = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Two valid requests may not share an Idempotency-Key by chance: the second would be a rightful 422."""
    header = (case.headers or {}).get("Idempotency-Key")
    if isinstance(header, str) and 0 < len(header.strip()) <= 255 and header.isascii() and header.isprintable():
        case.headers["Idempotency-Key"] = f"{next(numbers)} {header}"[:255].strip()
    # The coverage phase sends `If-Match: 0` as valid, which the pattern of openapi.yaml excludes.
    if case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE and (case.headers or {}).get("If-Match") == "0":
        del case.headers["If-Match"]
