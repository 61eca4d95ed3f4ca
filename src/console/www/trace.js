// trace -- one trace: its spans as a waterfall, and beside it the log lines of all services.

import { colour, get, Refused } from "./api.js";
import { attr, copyButton, empty, h, icon, say, spanName, style } from "./dom.js";
import { clock, count, duration, instanceName, plural } from "./format.js";
import { fields, lineRow } from "./lines.js";

const SPANS = 1000; // rows that are drawn

export function openTrace(root, route, list) {
    const id = route.parts[0];
    const stopped = new AbortController();
    const body = h("div", null, h("p", { class: "waiting" }, "Loading the trace…"));
    root.append(h("a", { class: "back", href: list, "data-back": "" }, icon("open"), "Traces"), body);
    let drawn = null;
    get(["api", "traces", id], {}, stopped.signal)
        .then((trace) => {
            drawn = draw(trace);
            body.replaceChildren(...drawn.nodes);
            drawn.select(route.query.get("span") ?? "", false);
        })
        .catch((error) => {
            if (error.name === "AbortError") return;
            const gone = error instanceof Refused && error.status === 404;
            body.replaceChildren(
                h("h1", null, "Trace"),
                empty(
                    gone ? "This trace is no longer kept." : error.message,
                    gone
                        ? "The console keeps the last minutes only. Open a newer trace from the list."
                        : "Go back to the list and try again.",
                ),
            );
        });
    return {
        close: () => stopped.abort(),
        change: (to) => {
            if (to.parts[0] !== id) return false;
            drawn?.select(to.query.get("span") ?? "", false);
            return true;
        },
    };
}

// The spans in the order of a walk through the tree, each with its depth. Spans whose parent is not here are roots;
// those in a circle come last, as roots.
function ordered(spans) {
    const ids = new Set(spans.map((span) => span.span_id));
    const children = new Map();
    for (const span of spans) {
        const parent = ids.has(span.parent_id) && span.parent_id !== span.span_id ? span.parent_id : null;
        if (!children.has(parent)) children.set(parent, []);
        children.get(parent).push(span);
    }
    for (const each of children.values()) each.sort((a, b) => a.start_us - b.start_us);
    const rows = [];
    const seen = new Set();
    const walk = (first) => {
        const todo = [[first, 0]];
        while (todo.length) {
            const [span, depth] = todo.pop();
            if (seen.has(span.span_id)) continue;
            seen.add(span.span_id);
            rows.push({ span, depth });
            for (const child of [...(children.get(span.span_id) ?? [])].reverse()) todo.push([child, depth + 1]);
        }
    };
    (children.get(null) ?? []).forEach(walk);
    spans.forEach((span) => seen.has(span.span_id) || walk(span));
    return rows;
}

function ticks(total_ms) {
    const rough = total_ms / 5;
    const power = 10 ** Math.floor(Math.log10(rough || 1));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough) ?? power;
    return Array.from({ length: Math.floor(total_ms / step + 1e-9) + 1 }, (_, index) => index * step);
}

function draw(trace) {
    const rows = ordered(trace.spans);
    const end_us = Math.max(
        1,
        trace.duration_ms * 1000,
        ...trace.spans.map((span) => span.start_us + span.duration_us),
    );
    const root = rows[0]?.span;
    const failed = trace.spans.filter((span) => span.error).length;
    const services = [...new Set(trace.spans.map((span) => span.service))];
    const spans = new Map();
    const lines = [];

    const head = h(
        "div",
        { class: "trace-head" },
        h(
            "h1",
            null,
            root
                ? [
                      h("span", { class: `service ${colour(root.service)}` }, root.service),
                      h("span", { class: "name" }, root.name),
                  ]
                : "Trace",
        ),
        h(
            "p",
            { class: "facts" },
            h("b", null, duration(trace.duration_ms)),
            h("span", null, clock(trace.start_ms, true)),
            h("span", null, plural(trace.spans.length, "span")),
            h("span", null, plural(services.length, "service")),
            failed ? h("span", { class: "result error" }, icon("error"), plural(failed, "error")) : null,
            trace.cut ? h("span", { class: "result incomplete" }, "some spans were left out") : null,
            h("span", { class: "id mono" }, trace.trace_id),
            copyButton(trace.trace_id, "Copy the trace ID"),
        ),
    );

    const scale = h("div", { class: "scale", "aria-hidden": "true" });
    for (const ms of ticks(end_us / 1000)) {
        const tick = h("span", null, ms === 0 ? "0" : duration(ms));
        style(tick, "--at", ((ms * 1000) / end_us).toFixed(4));
        if ((ms * 1000) / end_us < 0.97) scale.append(tick);
    }
    const list = h("ol", { class: "spans", "data-rows": "" });
    const byId = new Map(trace.spans.map((span) => [span.span_id, span]));
    for (const { span, depth } of rows.slice(0, SPANS)) {
        const row = spanRow(span, depth, byId.get(span.parent_id)?.service === span.service, end_us, () =>
            select(span.span_id, true),
        );
        spans.set(span.span_id, { row, span });
        list.append(h("li", null, row));
    }
    const about = h("div", { class: "about", "aria-live": "polite" });
    const waterfall = h(
        "section",
        { class: "panel waterfall", "aria-label": "Spans" },
        h(
            "header",
            null,
            h("h2", null, rows.length > SPANS ? `Spans, the first ${count(SPANS)} of ${count(rows.length)}` : "Spans"),
            scale,
        ),
        list,
        about,
    );

    const log = h("ol", { class: "lines", "data-rows": "" });
    for (const line of trace.lines) {
        const node = lineRow(line, {
            when: (each) => `+${duration(Math.max(0, each.time_ms - trace.start_ms))}`,
            trace: false,
            brief: true,
            opened: (each) => each.span_id && select(each.span_id, false),
        });
        lines.push({ node, line });
        log.append(node);
    }
    const beside = h(
        "section",
        { class: "panel beside", "aria-label": "Log lines of this trace" },
        h("header", null, h("h2", null, "Log lines"), h("span", { class: "note" }, plural(trace.lines.length, "line"))),
        trace.lines.length
            ? log
            : empty(
                  "No log line has this trace ID.",
                  "Services with a LOG_LEVEL above info do not log a line for each request.",
              ),
    );

    function select(id, byHand) {
        const chosen = spans.get(id);
        for (const [other, { row }] of spans) attr(row, "aria-pressed", String(other === id));
        let first = null;
        for (const { node, line } of lines) {
            const same = chosen !== undefined && line.span_id === id;
            node.classList.toggle("of-span", same);
            if (same) first ??= node;
        }
        if (byHand && first) first.scrollIntoView({ block: "nearest" });
        about.replaceChildren(
            ...(chosen
                ? details(chosen.span, lines.filter(({ line }) => line.span_id === id).length)
                : [h("p", { class: "note" }, "Select a span to see its attributes and its log lines.")]),
        );
        if (chosen && byHand)
            history.replaceState(
                null,
                "",
                `#/traces/${encodeURIComponent(trace.trace_id)}?span=${encodeURIComponent(id)}`,
            );
    }
    select("", false);
    return { nodes: [head, h("div", { class: "split" }, waterfall, beside)], select };
}

// of: whether the service is the one of the row above it, which need not be said again.
function spanRow(span, depth, of, end_us, onclick) {
    const bar = h("span", { class: `span-bar ${colour(span.service)}` });
    const from = Math.min(1, Math.max(0, span.start_us / end_us));
    const part = Math.min(1 - from, Math.max(0, span.duration_us / end_us));
    const took = h("span", { class: "took" }, duration(span.duration_us / 1000));
    const rest = h(
        "span",
        { class: "hidden" },
        `after ${duration(span.start_us / 1000)}, ${span.kind}${span.error ? ", error" : ""}`,
    );
    const track = h("span", { class: "track" }, bar, took, rest);
    style(track, "--from", from.toFixed(5));
    style(track, "--part", part.toFixed(5));
    const name = h(
        "span",
        { class: "span-name" },
        of
            ? [h("span", { class: `swatch ${colour(span.service)}` }), h("span", { class: "hidden" }, span.service)]
            : h("span", { class: `service ${colour(span.service)}` }, span.service),
        span.error ? icon("error") : null,
        spanName(span.name, true),
    );
    style(name, "--depth", Math.min(depth, 12));
    const said = `${span.service} ${span.name}, ${took.textContent}, ${rest.textContent}`;
    return h(
        "button",
        {
            type: "button",
            class: `span ${span.kind} ${span.error ? "failed" : ""}`,
            "aria-pressed": "false",
            title: said,
            "data-row": "",
            "data-span": span.span_id,
            onclick,
        },
        name,
        track,
    );
}

function details(span, lines) {
    const entries = [
        ["service", span.service],
        ["instance", instanceName(span.service, span.instance)],
        ["kind", span.kind],
        ["start", `+${duration(span.start_us / 1000)}`],
        ["duration", duration(span.duration_us / 1000)],
        ...(span.error ? [["status", span.status_message || "error"]] : []),
        ...Object.entries(span.attributes ?? {}),
        ["span_id", span.span_id],
    ];
    const title = h("h3", null);
    say(title, span.name);
    return [
        title,
        h(
            "p",
            { class: "note" },
            lines ? `${plural(lines, "log line")} of this span, marked in the list` : "No log line of this span.",
        ),
        fields(entries),
    ];
}
