"""catalog -- all attacks, by name."""

import over_grpc  # noqa: F401 (declares attacks, as the others)
import over_http1  # noqa: F401
import over_http2  # noqa: F401
from script import ATTACKS

__all__ = ["ATTACKS"]
