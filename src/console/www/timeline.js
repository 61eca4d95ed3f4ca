// timeline -- replicas over time: rollouts, scalings, restarts.

import { colour, get, live } from "./api.js";
import { attr, empty, h, heading, keyed, say, select, stateMark, style } from "./dom.js";
import { clock, count, instanceName, isoTime } from "./format.js";

const RANGES = [
    [300, "5 min"],
    [900, "15 min"],
    [3600, "1 h"],
    [21_600, "6 h"],
];
const EVENTS = 500;
const BARS = 16; // replicas of a service that are drawn, the newest
const LABELS = {
    started: "started",
    ready: "ready",
    draining: "draining",
    gone: "gone",
    restarted: "restarted",
    version: "new version",
    scaled: "scaled",
};

const id = (event) => `${event.time_ms} ${event.kind} ${event.service} ${event.instance}`;

export function open(root) {
    let range_s = 900;
    let events = [];
    let cut = false;
    let kind = "";
    let chosen = false;
    const lanes = h("div", { class: "lanes" });
    const scale = h("div", { class: "scale", "aria-hidden": "true" });
    const chart = h(
        "section",
        { class: "panel chart", "aria-label": "Replicas over time" },
        h("div", { class: "lane-head" }, legend(), scale),
        lanes,
    );
    const rows = h("ol", { class: "events" });
    const kinds = select(
        [
            ["", "All events"],
            ["version", "New versions"],
            ["scaled", "Scalings"],
            ["gone", "Gone"],
            ["restarted", "Restarts"],
        ],
        "",
        (value) => {
            kind = value;
            list();
        },
    );
    const buttons = RANGES.map(([seconds, label]) =>
        h(
            "button",
            { type: "button", "aria-pressed": String(seconds === range_s), onclick: () => choose(seconds) },
            label,
        ),
    );
    kinds.setAttribute("aria-label", "Kind of event");
    const more = h("span", { class: "note" });
    const nothing = empty(
        "Nothing has changed yet.",
        "Rollouts, scalings and restarts appear here. With ./dev up, save a file below src/ to see a service replaced.",
    );
    root.append(
        heading("Timeline", h("div", { class: "choice", role: "group", "aria-label": "Range" }, buttons)),
        chart,
        h(
            "section",
            { class: "panel", "aria-label": "Events" },
            h("header", { class: "bar" }, h("h2", null, "Events"), kinds, more),
            rows,
            nothing,
        ),
    );

    // By hand, or because all that is known lies within the shortest range.
    function choose(seconds) {
        chosen = true;
        range_s = seconds;
        buttons.forEach((button, index) => attr(button, "aria-pressed", String(RANGES[index][0] === seconds)));
        draw();
    }
    function list() {
        const shown = events.filter((event) => !kind || event.kind === kind);
        keyed(rows, shown, id, (event) => ({ node: eventRow(event) }));
        nothing.hidden = shown.length > 0;
        say(more, cut ? `the newest ${count(events.length)}` : "");
    }
    function draw() {
        if (!live.fleet) return;
        const now = live.fleet.time_ms;
        const from = now - range_s * 1000;
        const at = (time) => Math.min(1, Math.max(0, (time - from) / (now - from)));
        ticks(scale, from, now, at);
        const services = live.fleet.services.map((service) => service.name).sort();
        keyed(
            lanes,
            services.map((name) => ({ name, bars: history(name, events, from, now), at })),
            (lane) => lane.name,
            (lane) => laneOf(lane.name),
        );
    }
    const stops = [
        live.on("fleet", draw),
        live.on("timeline", (event) => {
            events = [event, ...events.filter((other) => id(other) !== id(event))].slice(0, EVENTS);
            list();
            draw();
        }),
    ];
    const stopped = new AbortController();
    const load = () =>
        get(["api", "timeline"], {}, stopped.signal)
            .then((answer) => {
                const have = new Set(answer.events.map(id));
                events = [
                    ...events.filter(
                        (event) => !have.has(id(event)) && event.time_ms >= (answer.events[0]?.time_ms ?? 0),
                    ),
                    ...answer.events,
                ];
                if (!chosen && live.fleet && (events.at(-1)?.time_ms ?? 0) > live.fleet.time_ms - RANGES[0][0] * 1000)
                    choose(RANGES[0][0]);
                cut = answer.cut;
                list();
                draw();
            })
            .catch(() => {});
    load();
    stops.push(live.on("state", (state) => state === "live" && load())); // what happened while the connection was lost
    list();
    return {
        close: () => {
            stopped.abort();
            stops.forEach((stop) => stop());
        },
        change: () => true,
    };
}

function legend() {
    return h(
        "ul",
        { class: "legend", "aria-label": "Legend" },
        ["starting", "ready", "draining", "gone"].map((state) =>
            h(
                "li",
                null,
                h(
                    "span",
                    { class: `part sample ${state}`, "aria-hidden": "true" },
                    state === "gone" ? stateMark(state) : null,
                ),
                state,
            ),
        ),
    );
}

function ticks(scale, from, to, at) {
    const steps = [15, 30, 60, 120, 300, 600, 1800, 3600].map((s) => s * 1000);
    const step = steps.find((each) => (to - from) / each <= 7) ?? 7_200_000;
    const times = [];
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) times.push(time);
    keyed(
        scale,
        times.map((time) => ({ time, place: at(time) })),
        ({ time }) => `${step} ${time}`,
        ({ time }) => {
            const node = h("span", null, clock(time).slice(0, step % 60_000 ? 8 : 5));
            return {
                node,
                update: ({ place }) => {
                    style(node, "--at", place.toFixed(4));
                    node.classList.toggle("edge", place > 0.95);
                },
            };
        },
    );
}

// The replicas of a service since from: each with the states that it went through, oldest first.
function history(name, events, from, now) {
    const replicas = new Map();
    const of = (instance, version) => {
        if (!replicas.has(instance)) replicas.set(instance, { instance, version, parts: [], since: null });
        return replicas.get(instance);
    };
    for (let index = events.length - 1; index >= 0; index -= 1) {
        const event = events[index];
        const state = {
            started: "starting",
            restarted: "starting",
            ready: "ready",
            draining: "draining",
            gone: "gone",
        }[event.kind];
        if (event.service !== name || !event.instance || !state) continue;
        const replica = of(event.instance, event.version);
        replica.version = event.version || replica.version;
        replica.parts.push({ state, time_ms: event.time_ms });
    }
    for (const replica of live.fleet.services.find((service) => service.name === name).replicas) {
        const known = of(replica.instance, replica.version);
        known.version = replica.version;
        const last = known.parts.at(-1);
        if (known.parts.length === 0)
            known.parts.push({
                state: replica.state === "gone" ? "ready" : replica.state,
                time_ms: Math.min(replica.started_ms, replica.since_ms),
            });
        else if (known.parts[0].state !== "starting" && replica.started_ms < known.parts[0].time_ms)
            known.parts.unshift({ state: "ready", time_ms: replica.started_ms });
        if (last?.state !== "gone" && replica.state === "gone")
            known.parts.push({ state: "gone", time_ms: replica.since_ms });
    }
    const all = [...replicas.values()].filter((replica) => {
        const last = replica.parts.at(-1);
        return last.state !== "gone" || last.time_ms >= from;
    });
    all.forEach((replica) => {
        if (replica.parts[0].state === "draining" || replica.parts[0].state === "gone")
            replica.parts.unshift({ state: "ready", time_ms: from });
        replica.spans = replica.parts.map((part, index) => ({
            state: part.state,
            from: part.time_ms,
            to: replica.parts[index + 1]?.time_ms ?? now,
        }));
    });
    return all
        .sort((a, b) => a.parts[0].time_ms - b.parts[0].time_ms || a.instance.localeCompare(b.instance))
        .slice(-BARS);
}

function laneOf(name) {
    const bars = h("div", { class: "lane-bars" });
    const node = h(
        "div",
        { class: `lane ${colour(name)}` },
        h(
            "a",
            { class: "lane-name", href: `#/fleet/${encodeURIComponent(name)}` },
            h("span", { class: "swatch", "aria-hidden": "true" }),
            name,
        ),
        bars,
    );
    return {
        node,
        update: ({ bars: found, at }) => {
            const newest = found.at(-1)?.version;
            const rolled = found.some((replica) => replica.version !== newest);
            keyed(
                bars,
                found.map((replica) => ({ replica, at, newest: rolled && replica.version === newest })),
                ({ replica }) => replica.instance,
                () => barOf(name),
            );
        },
    };
}

// One state of a replica, as a part of its bar.
function partOf({ state }) {
    const node = h("span", { class: `part ${state}` }, state === "gone" ? stateMark("gone") : null);
    return {
        node,
        update({ from, to, at }) {
            style(node, "--from", at(from).toFixed(5));
            style(node, "--part", state === "gone" ? "0" : (at(to) - at(from)).toFixed(5));
        },
    };
}

function barOf(service) {
    const label = h("span", { class: "bar-label" });
    const parts = h("span", { class: "bar-parts" });
    const node = h("div", { class: "replica-bar", role: "img" }, parts, label);
    return {
        node,
        update({ replica, at, newest }) {
            const spans = replica.spans.filter((span) => at(span.to) > 0);
            keyed(
                parts,
                spans.map((span, index) => ({ ...span, index, at })),
                (span) => `${span.state} ${span.index}`,
                partOf,
            );
            const begin = at(spans[0]?.from ?? 0);
            style(label, "--from", begin.toFixed(5));
            label.classList.toggle("left", begin > 0.6);
            node.classList.toggle("newest", newest);
            say(label, `${replica.version ?? ""}  ${instanceName(service, replica.instance)}`);
            const now = replica.parts.at(-1);
            attr(
                node,
                "aria-label",
                `${replica.instance}, version ${replica.version}: ${now.state} since ${clock(now.time_ms)}`,
            );
            const states = replica.parts.map((part) => `${part.state} ${clock(part.time_ms)}`);
            attr(node, "title", `${replica.instance}, version ${replica.version}: ${states.join(", ")}`);
        },
    };
}

// What an event says besides its kind: of which replica, and from how many to how many.
function eventText(event) {
    const said = event.text === event.kind || event.text === event.version ? "" : event.text.replace("->", "→");
    return [event.instance, said].filter(Boolean).join(": ");
}

function eventRow(event) {
    const state = { started: "starting", restarted: "starting", ready: "ready", draining: "draining", gone: "gone" }[
        event.kind
    ];
    return h(
        "li",
        null,
        h("time", { class: "mono", datetime: isoTime(event.time_ms) }, clock(event.time_ms)),
        h(
            "span",
            { class: `state ${state ?? "note"}` },
            state ? stateMark(state) : h("span", { class: "mark" }, event.kind === "version" ? "▲" : "⇅"),
            LABELS[event.kind] ?? event.kind,
        ),
        h("span", { class: `service ${colour(event.service)}` }, event.service),
        h("span", { class: "version" }, event.version ?? ""),
        h("span", { class: "text" }, eventText(event)),
    );
}
