// fleet -- every service with its replicas, and the flows between services.

import { colour, live } from "./api.js";
import { attr, empty, h, heading, keyed, say, scroller, stateMark, style } from "./dom.js";
import { age, bytes, clock, count, duration, instanceName, millis, NONE, number, percent, plural } from "./format.js";
import { map } from "./map.js";
import { spark } from "./spark.js";

const ROWS = 12; // replicas of a service before "Show all"
const ORDER = { starting: 0, ready: 1, draining: 2, gone: 3 };

export function open(root, route) {
    const stats = h("dl", { class: "stats panel" });
    const flows = map();
    const cards = h("div", { class: "cards" });
    const body = h(
        "div",
        { hidden: true },
        stats,
        h("section", { class: "panel", "aria-label": "Flows between services" }, flows.node),
        cards,
    );
    const nothing = empty(
        "No service has reported yet.",
        "Services report here when OTEL_EXPORTER_OTLP_ENDPOINT is the console's gRPC address.",
        "./dev up sets it for all services that it starts.",
    );
    const waiting = h("p", { class: "waiting" }, "Waiting for the first data…");
    root.append(heading("Fleet"), waiting, nothing, body);
    nothing.hidden = true;
    let wanted = route.parts[0] ?? "";

    const summary = summaryOf(stats);
    function update(fleet) {
        waiting.hidden = true;
        nothing.hidden = fleet.services.length > 0;
        body.hidden = fleet.services.length === 0;
        summary(fleet);
        flows.update(fleet);
        const services = [...fleet.services].sort((a, b) => a.name.localeCompare(b.name));
        keyed(
            cards,
            services,
            (service) => service.name,
            (service) => card(service.name, () => live.fleet),
        );
        if (wanted && cards.childElementCount) reveal(cards, wanted);
        wanted = "";
    }
    if (live.fleet) update(live.fleet);
    const stop = live.on("fleet", update);
    return {
        close: () => {
            stop();
            flows.close();
        },
        change: (to) => {
            if (to.parts[0]) reveal(cards, to.parts[0]);
            return true;
        },
    };
}

function reveal(cards, name) {
    const found = [...cards.children].find((each) => each.dataset.service === name);
    found?.scrollIntoView({ block: "start" });
    found?.querySelector("h2 a")?.focus({ preventScroll: true });
}

// ---- the whole ----

const sum = (replicas, name) => replicas.reduce((total, replica) => total + (replica[name] ?? 0), 0);
const worst = (replicas, name) =>
    replicas.reduce(
        (most, replica) =>
            replica[name] === null || replica[name] === undefined ? most : Math.max(most ?? 0, replica[name]),
        null,
    );

function summaryOf(list) {
    const cells = ["Services", "Replicas", "Requests", "Errors", "Slowest p99", "Telemetry"].map((name) => {
        const value = h("span", { class: "figure" });
        const detail = h("span", { class: "detail" });
        list.append(h("div", null, h("dt", null, name), h("dd", null, value, detail)));
        return { value, detail };
    });
    const [services, replicas, requests, errors, slowest, telemetry] = cells;
    const set = (cell, value, detail) => {
        say(cell.value, value);
        say(cell.detail, detail);
    };
    return (fleet) => {
        const all = fleet.services.flatMap((service) => service.replicas);
        const per = (state) => all.filter((replica) => replica.state === state).length;
        set(
            services,
            count(fleet.services.length),
            plural(
                new Set(all.filter((each) => each.state !== "gone" && each.version).map((each) => each.version)).size,
                "version",
            ),
        );
        const others = ["starting", "draining", "gone"]
            .filter((state) => per(state))
            .map((state) => `${per(state)} ${state}`);
        set(replicas, `${per("ready")} ready`, others.join(", ") || "none in another state");
        const rate = sum(all, "requests_per_s");
        const failed = sum(all, "errors_per_s");
        set(requests, `${number(rate)}/s`, "all services");
        set(
            errors,
            `${number(failed)}/s`,
            rate > 0 ? `${((failed / rate) * 100).toFixed(failed ? 2 : 0)}% of requests` : "no requests",
        );
        errors.value.parentNode.classList.toggle("bad", failed > 0);
        const slow = fleet.services
            .map((service) => [worst(service.replicas, "p99_ms"), service.name])
            .sort((a, b) => (b[0] ?? -1) - (a[0] ?? -1))[0];
        set(slowest, duration(slow?.[0] ?? null), slow?.[0] === null || !slow ? "no requests" : slow[1]);
        const got = fleet.received;
        const lost = got.dropped
            ? `${count(got.dropped)} dropped`
            : got.sampled_spans
              ? `${number(got.sampled_spans)} spans sampled out`
              : "nothing left out";
        set(telemetry, `${number(got.spans_per_s + got.logs_per_s + got.points_per_s)}/s`, lost);
        const parts = [
            `${number(got.spans_per_s)} spans/s`,
            `${number(got.logs_per_s)} log lines/s`,
            `${number(got.points_per_s)} points/s`,
            `${bytes(got.memory_used)} of ${bytes(got.memory_limit)}`,
        ];
        attr(telemetry.value.parentNode, "title", parts.join(", "));
    };
}

// ---- one service ----

function trend(label, kind) {
    const value = h("span", { class: "value" });
    const curve = spark(kind);
    return {
        node: h("div", { class: `trend ${kind}` }, h("span", { class: "label" }, label), value, curve.node),
        value,
        curve,
    };
}

// Where the requests are that make a p99 what it is.
const slowTraces = (service, p99_ms) =>
    `#/traces?service=${encodeURIComponent(service)}&min_ms=${Number((p99_ms * 0.8).toPrecision(2))}`;

function card(name, fleet) {
    const query = `service=${encodeURIComponent(name)}`;
    const link = h("a", { href: `#/fleet/${encodeURIComponent(name)}` }, name);
    const versions = h("span", { class: "versions" });
    const states = h("span", { class: "states" });
    const requests = trend("Requests/s", "requests");
    const errors = trend("Errors/s", "errors");
    const slow = trend("p99", "slow");
    const slowest = h("a", { title: `The slowest traces of ${name}` });
    const rows = h("tbody");
    const more = h("button", {
        type: "button",
        class: "quiet",
        hidden: true,
        onclick: () => {
            all = !all;
            update(latest);
        },
    });
    let all = false;
    let latest = null;
    const head = [
        ["State", ""],
        ["Replica", ""],
        ["Version", ""],
        ["req/s", "n"],
        ["err/s", "n"],
        ["p50 ms", "n"],
        ["p99 ms", "n"],
        ["Loop", ""],
        ["Budget", ""],
        ["Conns", "n"],
        ["Up", "n"],
    ];
    const table = h(
        "table",
        { class: "grid replicas" },
        h("caption", { class: "hidden" }, `Replicas of ${name}`),
        h(
            "thead",
            null,
            h(
                "tr",
                null,
                head.map(([text, kind]) =>
                    h("th", { scope: "col", class: `${kind} k-${text.split(/[ /]/)[0].toLowerCase()}` }, text),
                ),
            ),
        ),
        rows,
    );
    const node = h(
        "section",
        { class: `card panel ${colour(name)}`, "data-service": name, "aria-label": name },
        h(
            "header",
            null,
            h("span", { class: "swatch", "aria-hidden": "true" }),
            h("h2", null, link),
            versions,
            states,
            h(
                "span",
                { class: "links" },
                h("a", { href: `#/traces?${query}` }, "Traces"),
                h("a", { href: `#/logs?${query}` }, "Logs"),
            ),
        ),
        h("div", { class: "trends" }, requests.node, errors.node, slow.node),
        scroller(`Replicas of ${name}`, table, more),
    );

    function update(service) {
        latest = service;
        const replicas = [...service.replicas].sort(
            (a, b) => ORDER[a.state] - ORDER[b.state] || a.started_ms - b.started_ms || a.id.localeCompare(b.id),
        );
        const alive = replicas.filter((replica) => replica.state !== "gone");
        keyed(
            versions,
            [...new Set(alive.map((replica) => replica.version))].filter(Boolean).sort(),
            (version) => version,
            (version) => ({ node: h("span", { class: "version" }, version) }),
        );
        attr(versions, "data-rolling", versions.childElementCount > 1 ? "" : null);
        counts(states, replicas);
        const rate = sum(alive, "requests_per_s");
        const failed = sum(alive, "errors_per_s");
        say(requests.value, number(rate));
        say(errors.value, number(failed));
        errors.node.classList.toggle("bad", failed > 0);
        const p99_ms = worst(alive, "p99_ms");
        say(slowest, duration(p99_ms));
        attr(slowest, "href", p99_ms === null ? null : slowTraces(name, p99_ms));
        if (!slow.value.firstChild) slow.value.append(slowest);
        const history = fleet()?.history?.[name];
        requests.curve.update(history?.requests_per_s);
        errors.curve.update(history?.errors_per_s);
        slow.curve.update(history?.p99_ms);
        keyed(
            rows,
            all ? replicas : replicas.slice(0, ROWS),
            (replica) => replica.id,
            (replica) => replicaRow(name, replica),
        );
        more.hidden = replicas.length <= ROWS;
        say(more, all ? "Show fewer" : `Show all ${replicas.length} replicas`);
    }
    return { node, update };
}

function counts(parent, replicas) {
    const states = Object.keys(ORDER).map((state) => ({
        state,
        many: replicas.filter((replica) => replica.state === state).length,
    }));
    keyed(
        parent,
        states.filter((each) => each.many),
        (each) => each.state,
        ({ state }) => {
            const many = h("b");
            return {
                node: h("span", { class: `state ${state}` }, stateMark(state), many, ` ${state}`),
                update: (each) => say(many, each.many),
            };
        },
    );
}

// A figure with a bar of its part of a limit.
function meter() {
    const text = h("span");
    const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("i"));
    const node = h("span", { class: "meter" }, bar, text);
    return {
        node,
        update(part, said) {
            say(text, said);
            style(node, "--part", String(Math.min(1, Math.max(0, part ?? 0)).toFixed(3)));
            node.classList.toggle("high", part >= 0.8);
            node.classList.toggle("unknown", part === null || part === undefined);
        },
    };
}

function replicaRow(service, first) {
    const cells = Object.fromEntries(
        ["rate", "errors", "p50", "p99", "conns", "up"].map((name) => [name, h("td", { class: `n c-${name}` })]),
    );
    const state = h("td", { class: "c-state" });
    const version = h("td", { class: "c-version mono" });
    const loop = meter();
    const memory = meter();
    const node = h(
        "tr",
        { "data-replica": first.id },
        state,
        h(
            "th",
            { scope: "row", class: "c-replica mono", title: first.instance },
            instanceName(service, first.instance),
        ),
        version,
        cells.rate,
        cells.errors,
        cells.p50,
        cells.p99,
        h("td", { class: "c-loop" }, loop.node),
        h("td", { class: "c-memory" }, memory.node),
        cells.conns,
        cells.up,
    );
    function update(replica) {
        if (node.dataset.state !== replica.state) {
            node.dataset.state = replica.state;
            state.replaceChildren(
                h("span", { class: `state ${replica.state}` }, stateMark(replica.state), replica.state),
            );
        }
        attr(
            state,
            "title",
            `${replica.state} since ${clock(replica.since_ms)}, last seen ${clock(replica.last_seen_ms)}`,
        );
        const gone = replica.state === "gone";
        say(version, replica.version);
        say(cells.rate, gone ? NONE : number(replica.requests_per_s));
        say(cells.errors, gone ? NONE : number(replica.errors_per_s));
        cells.errors.classList.toggle("bad", replica.errors_per_s > 0);
        say(cells.p50, gone ? NONE : millis(replica.p50_ms));
        say(cells.p99, gone ? NONE : millis(replica.p99_ms));
        loop.update(gone ? null : replica.loop_utilization, gone ? NONE : percent(replica.loop_utilization));
        memory.update(
            gone || !replica.memory_limit ? null : replica.memory_used / replica.memory_limit,
            gone ? NONE : bytes(replica.memory_used),
        );
        attr(
            memory.node,
            "title",
            replica.memory_limit
                ? `${bytes(replica.memory_used)} of ${bytes(replica.memory_limit)} for clients`
                : "used for clients; there is no limit",
        );
        say(cells.conns, gone ? NONE : count(replica.connections));
        const now = live.fleet?.time_ms ?? replica.last_seen_ms;
        say(cells.up, gone ? `${age(now - replica.since_ms)} ago` : age(now - replica.started_ms));
    }
    return { node, update };
}
