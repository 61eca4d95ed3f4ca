"""The capacity model: from inputs to load, plant and monthly bill. Every result is one figure with a unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .inputs import EVENING, LADDER, Inputs, Rendition
from .popularity import File, harmonic, prefilled, retained

DAYS = 30.4
SECONDS_PER_MONTH = DAYS * 86_400
CORES_PER_MACHINE = 16
BOUGHT = ("licences", "identity", "privacy", "training")  # what has no test systems and idle machines of its own


@dataclass(frozen=True)
class Audience:
    mean_streams: float  # concurrent, over the month
    peak_streams: float  # whole platform, busiest hour of the busiest day
    edge_streams: float  # sum of the zones' own peaks: what the edge must carry
    pairs_streams: float  # sum of the busiest hours of each pair of regions
    curve: tuple[float, ...]  # streams by UTC hour on a mean day

    @property
    def peak_ratio(self) -> float:
        return self.peak_streams / self.mean_streams

    @property
    def provisioned(self) -> float:
        """What the regions together must be able to serve, over the platform's peak.

        Neighbours share an evening and the law that binds their data, so either must carry the busiest hour of both.
        """
        return 2 * self.pairs_streams / self.peak_streams


@dataclass(frozen=True)
class Media:
    delivered_mbps: float
    gb_per_hour_stored: float
    core_hours_per_hour: float
    origin_tb: float
    core_hours_per_month: float


@dataclass(frozen=True)
class Delivery:
    egress_pb: float
    mean_tbps: float
    peak_tbps: float
    edge_tbps: float
    edge_hit: float
    origin_hit: float
    origin_peak_gbps: float
    servers_for_throughput: float
    edge_servers: float
    fill_servers: float


@dataclass(frozen=True)
class Control:
    requests_s: float  # by people, and by the clients' timers
    heartbeats_s: float
    refreshes_s: float
    polls_s: float
    calls_s: float  # between services
    pushes_s: float
    connections: float
    client_events_s: float
    events_s: float
    event_mb_s: float
    events_day: float
    writes_s: float
    library_writes_s: float  # the part that goes to the wide-column store
    invoices_s: float
    licences_s: float
    searches_s: float
    profiles: float


@dataclass(frozen=True)
class Plant:
    service_machines: float
    ranking_machines: float
    push_machines: float
    transcode_machines: float
    licence_machines: float
    search_machines: float
    log_brokers: float
    shards: float
    postgres_nodes: float
    library_nodes: float
    cache_tb: float
    lake_pb: float
    zone_pb: float
    region_pb: float
    answers_pb: float

    @property
    def cloud_machines(self) -> float:
        kinds = (self.service_machines, self.ranking_machines, self.push_machines, self.transcode_machines)
        more = (self.licence_machines, self.search_machines, self.log_brokers, self.postgres_nodes, self.library_nodes)
        return sum(kinds) + sum(more)


@dataclass(frozen=True)
class Bill:
    delivery: float
    services: float
    licences: float
    identity: float
    search: float
    privacy: float
    ranking: float
    training: float
    push: float
    transcoding: float
    events: float
    databases: float
    cache: float
    network: float
    media_storage: float
    overhead: float
    payments: float
    support: float

    @property
    def infrastructure(self) -> float:
        """Everything but payment fees and support, which grow with accounts and not with viewing."""
        return float(sum(vars(self).values())) - self.payments - self.support


@dataclass(frozen=True)
class Result:
    inputs: Inputs
    audience: Audience
    media: Media
    delivery: Delivery
    control: Control
    plant: Plant
    bill: Bill

    @property
    def per_subscriber(self) -> float:
        return self.bill.infrastructure / self.inputs.subscribers


def audience(i: Inputs) -> Audience:
    mean = i.subscribers * i.hours_per_day / 24
    norm = sum(EVENING) / 24
    local_peak = max(EVENING) / norm

    def day(pair: str | None) -> tuple[float, ...]:
        zones = [z for z in i.zones if pair in (None, z.pair)]
        return tuple(sum(mean * z.share * EVENING[(hour + z.offset) % 24] / norm for z in zones) for hour in range(24))

    curve, busy = day(None), i.busy_day_factor
    pairs = sum(max(day(pair)) for pair in {z.pair for z in i.zones})
    return Audience(mean, max(curve) * busy, mean * local_peak * busy, pairs * busy, curve)


def renditions(i: Inputs) -> list[tuple[Rendition, float]]:
    """Every rendition that is stored, with its share of the hours watched: AV1 and HEVC, and AVC where a rung has it."""
    out: list[tuple[Rendition, float]] = []
    av1 = min(1.0, i.av1_share)
    for rung in LADDER:
        modern = 1.0 if rung.avc_mbps is None else min(1.0, i.modern_codec_share)
        out.append((Rendition(rung.height, "av1", rung.av1_mbps * i.bitrate_factor), rung.share * modern * av1))
        out.append((Rendition(rung.height, "hevc", rung.hevc_mbps * i.bitrate_factor), rung.share * modern * (1 - av1)))
        if rung.avc_mbps is not None:
            out.append((Rendition(rung.height, "avc", rung.avc_mbps * i.bitrate_factor), rung.share * (1 - modern)))
    return out


def media(i: Inputs) -> Media:
    rends = renditions(i)
    delivered = sum(r.mbps * share for r, share in rends) + i.audio_mbps
    stored = (sum(r.mbps for r, _ in rends) + i.audio_tracks * i.audio_mbps) * 3600 / 8 / 1000
    per_1080p = {"avc": i.core_hours_avc, "hevc": i.core_hours_hevc, "av1": i.core_hours_av1}
    core_hours = sum(per_1080p[r.codec] * (r.height / 1080) ** 2 for r, _ in rends) * i.encode_trials
    hours = i.new_hours_per_month + i.catalogue_hours * i.reencode_share_per_year / 12
    return Media(delivered, stored, core_hours, 2 * i.catalogue_hours * stored / 1000, hours * core_hours)


def _files(i: Inputs) -> list[File]:
    """What a cache can hold of one hour of the catalogue: bytes asked for, bytes stored, and how many plays ask for it."""
    video = [File(share * r.mbps, r.mbps, share) for r, share in renditions(i)]
    tracks = max(1, round(i.audio_tracks))
    audio = [File(i.audio_mbps / tracks, i.audio_mbps, 1 / tracks) for _ in range(tracks)]
    files = [*video, *audio]
    demand = sum(f.demand for f in files)
    return [File(f.demand / demand, f.size, f.plays) for f in files if f.plays > 0]


def hit_rates(i: Inputs, mean_streams: float) -> tuple[float, float]:
    """Byte hit rate at the edge, and of edge and second tier (shield or regional fill site) together."""
    files, titles = _files(i), i.catalogue_hours
    if i.own_edge:
        per_mbps_hour = 3600 / 8 * 1e6
        site = i.edge_site_servers * i.edge_server_tb * 1e12 / per_mbps_hour
        edge = prefilled(files, titles, i.zipf_exponent, site)
        return edge, prefilled(files, titles, i.zipf_exponent, i.fill_site_tb * 1e12 / per_mbps_hour)
    edge = retained(files, titles, i.zipf_exponent, mean_streams / i.cdn_pops, i.cdn_retention_hours)
    # The shield sees what the edges miss; for its retention the whole demand of all sites counts.
    shield = retained(files, titles, i.zipf_exponent, mean_streams, i.shield_retention_hours)
    return edge, max(edge, shield)


def delivery(i: Inputs, a: Audience, m: Media) -> Delivery:
    tbps = m.delivered_mbps / 1e6
    edge_hit, origin_hit = hit_rates(i, a.mean_streams)
    peak, edge = a.peak_streams * tbps, a.edge_streams * tbps
    per_server = i.edge_server_gbps * i.edge_utilisation / 1000
    throughput = math.ceil(edge * edge_hit / per_server)
    servers = math.ceil(_servers(i, throughput)) if i.own_edge else 0
    fill = math.ceil(edge * (1 - edge_hit) / per_server) if i.own_edge else 0
    return Delivery(
        egress_pb=a.mean_streams * tbps * 1e12 / 8 * SECONDS_PER_MONTH / 1e15,
        mean_tbps=a.mean_streams * tbps,
        peak_tbps=peak,
        edge_tbps=edge,
        edge_hit=edge_hit,
        origin_hit=origin_hit,
        # Whatever is hit later, a new title leaves the origin once; an own edge is filled from it as well.
        origin_peak_gbps=peak * 1000 * (1 - origin_hit)
        + i.new_hours_per_month * m.gb_per_hour_stored * 8 / SECONDS_PER_MONTH,
        servers_for_throughput=throughput,
        edge_servers=servers,
        fill_servers=fill,
    )


def _servers(i: Inputs, throughput: float) -> float:
    """Servers of all sites: sizes follow a Zipf law, the largest are set by traffic and the rest by the floor."""
    sites, floor, whole = i.edge_sites, i.edge_site_servers, harmonic(i.edge_sites, i.site_skew)
    large: float = min(sites, (throughput / whole / floor) ** (1 / i.site_skew))
    if large < 1:
        return max(throughput, sites * floor)
    return throughput * harmonic(large, i.site_skew) / whole + (sites - large) * floor


def control(i: Inputs, a: Audience) -> Control:
    views_s = a.peak_streams / 3600
    daily = i.subscribers / 86_400 * a.peak_ratio
    people = views_s * i.requests_per_hour
    connections = i.subscribers * i.connected_share
    # Every connected device keeps a valid token, also one that plays nothing.
    heartbeats, refreshes = a.peak_streams / i.heartbeat_s, connections / i.token_min / 60
    polls = connections / i.poll_s
    timers = heartbeats + refreshes + polls
    calls = people * i.service_hops + timers * i.timer_hops
    client = views_s * i.client_events_per_hour
    events = client + calls * i.telemetry_per_hop
    invoices = i.subscribers / SECONDS_PER_MONTH * i.invoice_peak
    library = views_s * i.writes_per_hour + daily * i.writes_per_day
    return Control(
        requests_s=people + timers,
        heartbeats_s=heartbeats,
        refreshes_s=refreshes,
        polls_s=polls,
        calls_s=calls,
        pushes_s=daily * i.pushes_per_day,
        connections=connections,
        client_events_s=client,
        events_s=events,
        event_mb_s=events * i.event_bytes / 1e6,
        events_day=events / a.peak_ratio * 86_400,
        writes_s=library + refreshes + invoices * i.ledger_rows_per_invoice,
        library_writes_s=library,
        invoices_s=invoices,
        licences_s=views_s * i.plays_per_hour * i.licences_per_play,
        searches_s=views_s * i.searches_per_hour,
        profiles=i.subscribers * i.profiles_per_subscriber,
    )


def plant(i: Inputs, a: Audience, m: Media, c: Control) -> Plant:
    spare = a.provisioned
    busy = spare / 2  # each pair has its own busiest hour; in an evacuation telemetry is sampled
    sealing = c.client_events_s * i.seal_passes * i.seal_core_us / 1e6  # cores
    service_cores = (c.calls_s * i.core_ms_per_hop / 1000 + sealing) / i.service_utilisation * spare
    ranking_cores = c.profiles * i.ranking_core_s / 86_400 / i.batch_utilisation
    client_bytes = c.client_events_s / a.peak_ratio * i.event_bytes * 86_400
    all_bytes = c.event_mb_s / a.peak_ratio * 1e6 * 86_400
    # Product events are kept in two regions, telemetry in one. Sealed bytes do not compress, so events are compressed before.
    lake = client_bytes * i.lake_days * 2 / i.sealed_compression
    lake += (all_bytes - client_bytes) * i.telemetry_days / i.lake_compression
    log_disk = all_bytes * i.log_days * 3 / (i.broker_tb * 1e12)
    stored = c.profiles * i.profile_kb * 1e3 * i.data_copies / (i.node_tb * 1e12)
    library = max(c.library_writes_s * i.data_copies / i.node_writes, stored)
    shards = 2 * math.ceil(i.subscribers / i.shard_accounts)  # accounts, and the ledger
    own_licences = 0.0 if i.licence_eur else c.licences_s * i.licence_core_ms / 1000 / i.service_utilisation * spare
    search = c.searches_s * i.search_core_ms / 1000 / i.service_utilisation * spare
    return Plant(
        service_machines=_at_least(service_cores / CORES_PER_MACHINE, 3 * i.regions),
        ranking_machines=_at_least(ranking_cores / CORES_PER_MACHINE, 1),
        push_machines=_at_least(c.connections * spare / i.connections_per_machine, 3 * i.regions),
        transcode_machines=_at_least(m.core_hours_per_month / (DAYS * 24 * i.batch_utilisation) / CORES_PER_MACHINE, 1),
        log_brokers=_at_least(max(c.event_mb_s * busy * 3 / i.broker_mb, log_disk), 3 * i.regions),
        licence_machines=_at_least(own_licences / CORES_PER_MACHINE, 0),
        search_machines=_at_least(search / CORES_PER_MACHINE, 2 * i.regions if i.subscribers >= 1e6 else 0),
        shards=shards,
        postgres_nodes=_at_least((shards + i.regions / 2) * i.shard_copies, 3),  # and a cluster of keys in each pair
        library_nodes=_at_least(library, 3 * i.regions if i.subscribers >= 1e6 else 0),
        cache_tb=c.profiles * i.cache_kb_per_profile * 1e3 * 3 * 2 / 1e12,  # a copy a zone, room for the neighbour's
        lake_pb=lake / 1e15,
        zone_pb=_zone_bytes(i, a, c) * SECONDS_PER_MONTH / 1e15,
        region_pb=_region_bytes(i, a, c) * SECONDS_PER_MONTH / 1e15,
        answers_pb=_answer_bytes(i, a, c) * SECONDS_PER_MONTH / 1e15,
    )


def _zone_bytes(i: Inputs, a: Audience, c: Control) -> float:
    """Bytes a second that cross zones on average: two log replicas, and two calls of three to another zone."""
    return (c.event_mb_s * 1e6 * 2 + c.calls_s * i.hop_kb * 1e3 * 2 / 3) / a.peak_ratio


def _region_bytes(i: Inputs, a: Audience, c: Control) -> float:
    """Bytes a second between neighbours on average: product events and database writes, but not telemetry."""
    return (c.client_events_s * i.event_bytes + c.writes_s * i.write_kb * 1e3) / a.peak_ratio


def _answer_bytes(i: Inputs, a: Audience, c: Control) -> float:
    """Bytes a second from the control plane to clients on average; a timer's answer weighs nothing beside a page's."""
    return (c.requests_s - c.heartbeats_s - c.refreshes_s - c.polls_s) * i.answer_kb * 1e3 / a.peak_ratio


def _at_least(value: float, floor: float) -> float:
    return max(math.ceil(value), floor)


def bill(i: Inputs, m: Media, d: Delivery, p: Plant) -> Bill:
    machine = CORES_PER_MACHINE * i.core_eur
    running = {
        "services": p.service_machines * machine,
        "licences": p.licence_machines * machine + i.licence_eur * licences_a_month(i),
        "identity": i.subscribers * (i.identity_eur + i.messages_per_account * i.message_eur),
        "search": p.search_machines * machine,
        "privacy": i.subscribers * i.privacy_per_year / 12 * i.privacy_eur,
        "ranking": p.ranking_machines * machine,
        "training": i.training_gpu_hours * i.gpu_hour_eur,
        "push": p.push_machines * machine,
        "events": p.log_brokers * i.broker_eur + p.lake_pb * 1e6 * i.object_gb_eur,
        "databases": (p.postgres_nodes + p.library_nodes) * i.node_eur,
        "cache": p.cache_tb * 1000 * i.ram_gb_eur,
        "network": network_eur(i, p),
    }
    return Bill(
        delivery=own_edge_eur(i, d) if i.own_edge else shared_cdn_eur(i, d),
        transcoding=m.core_hours_per_month * i.spot_core_hour_eur,
        media_storage=m.origin_tb * 1000 * i.object_gb_eur,
        overhead=i.overhead * sum(cost for name, cost in running.items() if name not in BOUGHT),
        payments=i.subscribers * payment_eur(i),
        support=i.subscribers * i.contacts_per_month * i.contact_eur,
        **running,
    )


def payment_eur(i: Inputs) -> float:
    """What a month's payment costs: the zones' card fees, and the shops' commission for those who pay there."""
    cards = sum(
        z.share * (i.price_eur * z.card_share * i.fee_share_factor + z.card_fixed_eur * i.fee_fixed_factor)
        for z in i.zones
    )
    return cards * (1 - i.app_shop_share) + i.price_eur * i.app_shop_fee * i.app_shop_share


def licences_a_month(i: Inputs) -> float:
    return i.subscribers * i.hours_per_day * DAYS * i.plays_per_hour * i.licences_per_play


def network_eur(i: Inputs, p: Plant) -> float:
    between = p.zone_pb * i.zone_eur_per_gb + p.region_pb * i.region_eur_per_gb
    return (between + p.answers_pb * i.cloud_usd_per_gb * i.usd_eur) * 1e6


def shared_cdn_eur(i: Inputs, d: Delivery) -> float:
    origin = (1 - d.origin_hit) * i.cloud_usd_per_gb
    return d.egress_pb * 1e6 * (i.cdn_usd_per_gb + origin) * i.usd_eur


def own_edge_eur(i: Inputs, d: Delivery) -> float:
    """Servers, hosting, paid ports and the team that runs them."""
    servers = (d.edge_servers + d.fill_servers) * (i.edge_server_eur / 48 + i.edge_hosting_eur)
    ports = d.edge_tbps * 1e6 * i.transit_share * i.transit_eur_per_mbps
    return servers + ports + i.edge_team_people * i.person_eur


def run(i: Inputs) -> Result:
    a, m = audience(i), media(i)
    d, c = delivery(i, a, m), control(i, a)
    p = plant(i, a, m, c)
    return Result(i, a, m, d, c, p, bill(i, m, d, p))
