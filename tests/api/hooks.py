"""hooks -- what schemathesis does to the requests that it generates."""

from __future__ import annotations

import itertools
from typing import Any

import schemathesis

KEY = "Idempotency-Key"
LONGEST = 200  # with the number, a key is still allowed
_number = itertools.count()


@schemathesis.hook
def before_call(context: Any, case: Any, *arguments: Any) -> None:
    """An idempotency key that is allowed is used once: with another note it would be refused, whatever the note is."""
    key = (case.headers or {}).get(KEY)
    if isinstance(key, str) and 0 < len(key) <= LONGEST and all("!" <= each <= "~" for each in key):
        case.headers[KEY] = f"{key}-{next(_number)}"
