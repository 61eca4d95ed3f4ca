"""examples -- the requests by which the tests of what all services have in common ask each of them. Every service has a row:
just new-service adds one, and test_logging.py fails where one is missing."""

from __future__ import annotations

# Paths: one that is answered with 200, also while the service is under load, and one that is refused with 4xx.
HTTP = {
    "countries": ("/countries?user_id=1234", "/countries"),
    "demo": ("/demo/hello?delay=3", "/demo/none"),
    "notes": ("/v1/notes?limit=5", "/v1/notes/none"),
    "users": ("/users/1234", "/none"),
}
# Unary methods of routeguide.RouteGuide.
GRPC = {"feature-store": "SaveFeature", "route-guide": "GetFeature"}
