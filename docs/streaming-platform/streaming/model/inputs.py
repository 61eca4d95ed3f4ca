"""Inputs of the capacity model: value, unit, plausible range and where each comes from.

A basis is a source number of sources.md ("S3") or "assumption". The range is a pair of factors on the value and is
what the sensitivity analysis varies. Money is in euros a month, rates in decimal units (1 Tb/s = 1e12 bit/s).
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields, replace
from typing import Any


def given(value: Any, unit: str, basis: str, low: float = 1.0, high: float = 1.0, note: str = "") -> Any:
    meta = {"unit": unit, "basis": basis, "range": (low, high), "note": note}
    return field(default=value, metadata=meta)


@dataclass(frozen=True)
class Zone:
    """A part of the audience that shares an evening: offset from UTC in hours and share of the subscribers.

    Its accounts have their home in one of the two regions of a pair, which are each other's neighbours.
    """

    name: str
    offset: int
    share: float
    pair: str
    card_share: float = 0.015  # what a payment provider's list asks of a card payment, and per payment in euros
    card_fixed_eur: float = 0.25


@dataclass(frozen=True)
class Rendition:
    """One video encoding of a title; share is its part of the hours watched on its rung, by codec."""

    height: int
    codec: str
    mbps: float


@dataclass(frozen=True)
class Rung:
    """A resolution of the ladder; share is its part of all hours watched. A rung without AVC has AV1 and HEVC only."""

    height: int
    share: float
    av1_mbps: float
    hevc_mbps: float
    avc_mbps: float | None


LADDER = (
    Rung(270, 0.08, 0.25, 0.29, 0.40),
    Rung(480, 0.22, 0.62, 0.71, 1.10),
    Rung(720, 0.30, 1.43, 1.64, 2.60),
    Rung(1080, 0.34, 2.75, 3.15, 4.80),
    Rung(2160, 0.06, 8.50, 9.80, None),
)

# Viewing by local hour of day, relative weights. The shape (a trough at 5, a peak from 20 to 22) is an assumption.
EVENING = (45, 28, 17, 11, 9, 9, 12, 18, 25, 32, 38, 43, 50, 54, 56, 60, 68, 80, 98, 122, 140, 138, 112, 75)

# List prices of one provider for domestic cards: EEA (S18), United States, Canada and Japan (S31). Latin America is an
# assumption.
EEA, AMERICA, JAPAN, LATIN = (0.015, 0.25), (0.029, 0.28), (0.036, 0.0), (0.040, 0.10)
ONE_COUNTRY = (Zone("one country", 1, 1.0, "only", *EEA),)
TWO_SHORES = (Zone("Europe", 1, 0.55, "east", *EEA), Zone("Americas", -5, 0.45, "west", *AMERICA))
# Shares of paid memberships by region in mid-2023 (S4); the offsets stand for the middle of each region. Asia has a pair
# of its own: problem Q3 gives what it adds to the bill.
WORLD = (
    Zone("US and Canada", -6, 75.57 / 238.40, "west", *AMERICA),
    Zone("Latin America", -4, 42.47 / 238.40, "west", *LATIN),
    Zone("Europe, Middle East, Africa", 1, 79.81 / 238.40, "east", *EEA),
    Zone("Asia-Pacific", 8, 40.55 / 238.40, "asia", *JAPAN),
)
WITHOUT_ASIAN_PAIR = tuple(replace(zone, pair="west") if zone.pair == "asia" else zone for zone in WORLD)


@dataclass(frozen=True)
class Inputs:
    # Audience
    subscribers: float = given(1e7, "accounts", "scenario")
    profiles_per_subscriber: float = given(2.5, "profiles", "assumption", 0.7, 1.4)
    hours_per_day: float = given(1.5, "h per account and day", "assumption", 0.7, 1.4)
    busy_day_factor: float = given(1.3, "busiest day over mean day", "assumption", 0.9, 1.3)
    zones: tuple[Zone, ...] = given(TWO_SHORES, "", "scenario")
    # Encoding
    bitrate_factor: float = given(1.0, "on the ladder's bitrates", "S5", 0.75, 1.35, "ladder gives about 3 Mb/s")
    modern_codec_share: float = given(0.4, "of hours, AV1 or HEVC", "assumption", 0.6, 1.6)
    av1_share: float = given(0.5, "of those, AV1; both are stored", "assumption", 0.4, 1.6)
    audio_mbps: float = given(0.15, "Mb/s delivered", "assumption", 0.7, 1.5)
    audio_tracks: float = given(8, "stored audio tracks", "assumption", 0.5, 2.0)
    catalogue_hours: float = given(30_000, "h", "assumption", 0.5, 2.0)
    new_hours_per_month: float = given(500, "h", "assumption", 0.5, 2.0)
    reencode_share_per_year: float = given(0.1, "of the catalogue", "assumption", 0.5, 2.0)
    core_hours_avc: float = given(4, "core-h per h at 1080p", "assumption", 0.5, 2.0)
    core_hours_hevc: float = given(10, "core-h per h at 1080p", "assumption", 0.4, 2.5)
    core_hours_av1: float = given(24, "core-h per h at 1080p", "S21", 0.4, 2.5, "order of magnitude only")
    encode_trials: float = given(3, "encodes tried per one kept", "assumption", 0.5, 2.0)
    # Delivery
    own_edge: bool = given(False, "", "scenario")
    zipf_exponent: float = given(0.9, "of title popularity", "S20", 0.89, 1.22)
    cdn_pops: float = given(30, "shared-CDN sites that serve us", "assumption", 0.5, 2.0)
    cdn_retention_hours: float = given(24, "until an idle object leaves a shared edge", "assumption", 0.25, 4.0)
    shield_retention_hours: float = given(168, "same, at the origin shield", "assumption", 0.5, 2.0)
    cdn_usd_per_gb: float = given(0.002, "USD per GB, contract", "assumption", 0.5, 2.5)
    edge_sites: float = given(500, "sites of the own edge", "assumption", 0.5, 2.0)
    site_skew: float = given(0.8, "Zipf exponent of the sites' sizes", "assumption", 0.5, 1.4)
    edge_site_servers: float = given(2, "servers a site at least", "assumption", 1.0, 2.0)
    edge_server_tb: float = given(100, "TB a server", "S22", 0.5, 2.0)
    fill_site_tb: float = given(2_000, "TB a fill site", "assumption", 0.25, 2.0)
    edge_server_gbps: float = given(100, "Gb/s a server, nominal", "S22", 0.5, 4.0)
    edge_utilisation: float = given(0.6, "of nominal at the busy hour", "assumption", 0.7, 1.3)
    edge_server_eur: float = given(25_000, "EUR a server, 48 months", "assumption", 0.6, 1.6)
    edge_hosting_eur: float = given(150, "EUR a server and month for power and hands", "assumption", 0.5, 2.0)
    transit_share: float = given(0.1, "of edge traffic over paid ports", "S2", 0.5, 2.0)
    edge_team_people: float = given(50, "people who run an own edge", "assumption", 0.5, 2.0)
    transit_eur_per_mbps: float = given(0.10, "EUR per Mb/s and month", "assumption", 0.5, 3.0)
    # Control plane
    requests_per_hour: float = given(40, "API requests by people per hour watched", "assumption", 0.5, 3.0)
    service_hops: float = given(8, "service calls per such request", "assumption", 0.5, 2.0)
    heartbeat_s: float = given(60, "s between heartbeats of a stream", "design", 0.5, 3.0)
    token_min: float = given(30, "min that an access token lives", "design", 0.33, 2.0)
    poll_s: float = given(900, "s between a connected client's polls for what push missed", "design", 0.5, 2.0)
    timer_hops: float = given(2, "service calls per heartbeat, token or poll", "assumption", 0.5, 2.0)
    core_ms_per_hop: float = given(0.8, "core-ms per service call", "assumption", 0.4, 3.0)
    service_utilisation: float = given(0.4, "of cores at the busy hour", "assumption", 0.7, 1.4)
    ranking_core_s: float = given(15, "core-s per profile and day", "assumption", 0.25, 4.0)
    cache_kb_per_profile: float = given(300, "KB of hot rows per profile", "assumption", 0.3, 5.0)
    connected_share: float = given(0.5, "devices connected per account at peak", "assumption", 0.4, 2.0)
    connections_per_machine: float = given(100_000, "push connections a machine", "assumption", 0.5, 3.0)
    pushes_per_day: float = given(2, "pushes per account and day", "assumption", 0.5, 3.0)
    # Data
    client_events_per_hour: float = given(
        180, "product events per hour watched: 60 heartbeats, 60 rows seen, the rest", "assumption", 0.5, 3.0
    )
    batch_utilisation: float = given(0.7, "of cores that rank or encode", "assumption", 0.7, 1.3)
    telemetry_per_hop: float = given(2, "log lines and spans per service call", "assumption", 0.5, 3.0)
    event_bytes: float = given(2_000, "bytes an event", "S6", 0.5, 2.0)
    log_days: float = given(3, "days kept in the event log", "assumption", 0.5, 2.0)
    lake_days: float = given(395, "days product events are kept", "assumption", 0.5, 1.5)
    telemetry_days: float = given(30, "days telemetry is kept", "assumption", 0.5, 3.0)
    lake_compression: float = given(6, "times, telemetry", "assumption", 0.6, 1.6)
    sealed_compression: float = given(2, "times, product events before they are sealed", "assumption", 0.5, 2.0)
    seal_core_us: float = given(20, "core-us to seal or open an event", "assumption", 0.5, 4.0)
    seal_passes: float = given(5, "times an event is sealed or opened in its first days", "assumption", 0.6, 3.0)
    writes_per_hour: float = given(15, "database writes per hour watched", "assumption", 0.5, 3.0)
    writes_per_day: float = given(4, "other writes per account and day", "assumption", 0.5, 3.0)
    profile_kb: float = given(250, "KB of durable data per profile", "assumption", 0.4, 3.0)
    data_copies: float = given(6, "three zones, at home and at the neighbour", "assumption", 0.67, 1.5)
    node_writes: float = given(10_000, "writes/s a node at the busy hour", "assumption", 0.5, 2.0)
    node_tb: float = given(2, "TB used a node", "assumption", 0.5, 2.0)
    broker_mb: float = given(80, "MB/s written a log broker", "assumption", 0.5, 2.0)
    broker_tb: float = given(6, "TB used a log broker", "assumption", 0.5, 2.0)
    shard_accounts: float = given(2e6, "accounts a PostgreSQL shard", "design", 0.5, 1.5)
    shard_copies: float = given(5, "three zones at home, two at the neighbour", "design", 0.8, 1.4)
    searches_per_hour: float = given(0.5, "searches per hour watched", "assumption", 0.4, 3.0)
    search_core_ms: float = given(20, "core-ms per search", "assumption", 0.4, 3.0)
    plays_per_hour: float = given(1.3, "plays started per hour watched", "assumption", 0.6, 1.6)
    licences_per_play: float = given(1.6, "with the next episode's, asked for near the end", "design", 0.63, 1.9)
    licence_eur: float = given(0.0, "EUR a licence, hosted service", "assumption", 0.3, 5.0)
    licence_core_ms: float = given(3, "core-ms per licence of our own", "assumption", 0.4, 3.0)
    training_gpu_hours: float = given(2_000, "GPU-hours a month to train models", "assumption", 0.3, 4.0)
    gpu_hour_eur: float = given(2.0, "EUR per GPU-hour", "assumption", 0.5, 2.0)
    messages_per_account: float = given(4, "mails and codes a month", "assumption", 0.5, 3.0)
    message_eur: float = given(0.0003, "EUR a message, mail and a few texts", "assumption", 0.4, 5.0)
    identity_eur: float = given(0.0, "EUR per account and month, hosted identity", "assumption", 0.5, 3.0)
    privacy_per_year: float = given(0.02, "erasures and exports per account", "assumption", 0.3, 3.0)
    privacy_eur: float = given(0.10, "EUR per erasure or export, by machine", "assumption", 0.3, 5.0)
    contacts_per_month: float = given(0.02, "support contacts per account", "assumption", 0.4, 2.5)
    contact_eur: float = given(3.0, "EUR per contact", "assumption", 0.5, 2.0)
    person_eur: float = given(10_000, "EUR a person and month, all in", "assumption", 0.6, 1.6)
    # Billing
    invoice_peak: float = given(5, "invoices/s of the busiest day over the mean", "assumption", 0.4, 6.0)
    price_eur: float = given(9.0, "EUR per account and month", "assumption", 0.7, 1.5)
    ledger_rows_per_invoice: float = given(12, "rows: invoice, entries, outbox", "assumption", 0.7, 2.0)
    # Prices
    usd_eur: float = given(0.92, "EUR per USD", "assumption", 0.9, 1.1)
    cloud_usd_per_gb: float = given(0.05, "USD per GB leaving the cloud", "assumption", 0.4, 1.8)
    zone_eur_per_gb: float = given(0.018, "EUR per GB crossing zones", "assumption", 0.1, 1.1)
    region_eur_per_gb: float = given(0.02, "EUR per GB between regions", "assumption", 0.5, 2.0)
    hop_kb: float = given(10, "KB per service call", "assumption", 0.3, 3.0)
    answer_kb: float = given(20, "KB per API answer to people", "assumption", 0.5, 3.0)
    write_kb: float = given(1, "KB per replicated write", "assumption", 0.5, 3.0)
    overhead: float = given(0.5, "test, CI, monitoring, idle, on top of the control plane", "assumption", 0.5, 3.0)
    core_eur: float = given(14, "EUR per vCPU and month, reserved", "assumption", 0.7, 1.8)
    spot_core_hour_eur: float = given(0.012, "EUR per vCPU-hour, interruptible", "assumption", 0.7, 2.0)
    ram_gb_eur: float = given(2.0, "EUR per GB of memory and month", "assumption", 0.6, 1.8)
    object_gb_eur: float = given(0.02, "EUR per GB and month, object storage", "S19", 0.6, 1.2)
    node_eur: float = given(700, "EUR a database node and month", "assumption", 0.6, 1.6)
    broker_eur: float = given(600, "EUR a log broker and month", "assumption", 0.6, 1.6)
    fee_share_factor: float = given(1.0, "on the list's share of a card payment, by zone", "assumption", 0.5, 1.2)
    fee_fixed_factor: float = given(1.0, "on the list's fixed part, by zone", "assumption", 0.2, 1.1)
    app_shop_share: float = given(0.15, "of payments through a device maker's shop", "assumption", 0.3, 2.5)
    app_shop_fee: float = given(0.15, "of such a payment", "assumption", 0.66, 2.0)

    @property
    def regions(self) -> int:
        return 2 * len({zone.pair for zone in self.zones})


SCENARIOS: dict[str, Inputs] = {
    "small": Inputs(
        subscribers=1e5,
        hours_per_day=1.0,
        zones=ONE_COUNTRY,
        catalogue_hours=3_000,
        new_hours_per_month=60,
        cdn_pops=8,
        cdn_usd_per_gb=0.007,
        licence_eur=0.002,
        training_gpu_hours=50,
        identity_eur=0.01,
    ),
    "medium": Inputs(licence_eur=0.0002),
    "large": Inputs(
        subscribers=2.5e8,
        hours_per_day=2.3,
        zones=WORLD,
        catalogue_hours=90_000,
        new_hours_per_month=1_500,
        own_edge=True,
        edge_sites=5_000,
        training_gpu_hours=60_000,
        fee_share_factor=0.7,
        fee_fixed_factor=0.2,
    ),
}

TITLES = {"small": "100,000 subscribers", "medium": "10 million subscribers", "large": "250 million subscribers"}


def numeric_fields() -> list[Field[Any]]:
    """The fields that are numbers with a range, that is, those the sensitivity analysis varies."""
    return [f for f in fields(Inputs) if f.metadata["range"] != (1.0, 1.0)]


def with_factor(inputs: Inputs, name: str, factor: float) -> Inputs:
    return replace(inputs, **{name: getattr(inputs, name) * factor})
