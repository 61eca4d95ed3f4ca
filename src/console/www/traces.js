// traces -- requests with how long they took: a list with filters, or one trace (trace.js).

import { colour, every, get, live } from "./api.js";
import { attr, empty, field, h, heading, icon, keyed, say, spanName, style, svg } from "./dom.js";
import { clock, count, duration, isoTime } from "./format.js";
import { offerServices } from "./services.js";
import { openTrace } from "./trace.js";

const SHOWN = 100;
const POLL_MS = 2000;
const SLOW = [
    ["10", "> 10 ms"],
    ["100", "> 100 ms"],
    ["1000", "> 1 s"],
];

let lastList = "#/traces"; // with its filters: where a trace leads back to

export function open(root, route) {
    return route.parts[0] ? openTrace(root, route, lastList) : openList(root, route);
}

function openList(root, route) {
    const filter = { service: "", min_ms: "", text: "", errors: "" };
    const service = h("select", { onchange: (event) => set("service", event.target.value) });
    const least = h("input", {
        type: "number",
        min: 0,
        step: "any",
        inputmode: "decimal",
        placeholder: "0",
        oninput: (event) => set("min_ms", event.target.value),
    });
    const text = h("input", {
        type: "search",
        placeholder: "Name of the root span",
        maxlength: 200,
        "data-filter": "",
        oninput: (event) => set("text", event.target.value),
    });
    const errors = h("input", {
        type: "checkbox",
        onchange: (event) => set("errors", event.target.checked ? "1" : ""),
    });
    const presets = SLOW.map(([ms, label]) =>
        h("button", { type: "button", "aria-pressed": "false", onclick: () => slow(ms) }, label),
    );
    const status = h("span", { class: "note", role: "status" });
    const pauseWord = h("span", null, "Pause");
    const pause = h(
        "button",
        { type: "button", "data-pause": "", "aria-pressed": "false", onclick: toggle },
        icon("pause"),
        pauseWord,
    );
    const plot = scatter();
    const rows = h("tbody", { "data-rows": "" });
    const sorts = {};
    const sortable = (name, label, kind) => {
        const button = h("button", { type: "button", class: "sort", onclick: () => sortBy(name) }, label);
        sorts[name] = h("th", { scope: "col", class: kind }, button);
        return sorts[name];
    };
    const table = h(
        "table",
        { class: "grid traces" },
        h("caption", { class: "hidden" }, "Traces"),
        h(
            "thead",
            null,
            h(
                "tr",
                null,
                sortable("start_ms", "Start", "c-time"),
                h("th", { scope: "col" }, "Request"),
                sortable("duration_ms", "Duration", "c-duration"),
                h("th", { scope: "col", class: "n c-spans" }, "Spans"),
                h("th", { scope: "col", class: "c-services" }, "Services"),
                h("th", { scope: "col", class: "c-result" }, "Result"),
            ),
        ),
        rows,
    );
    const nothing = empty(
        "No trace matches.",
        "Traces appear here once services answer requests. Widen the filter, or send one:",
        "./dev tour makes calls to all services.",
    );
    nothing.hidden = true;
    root.append(
        heading("Traces"),
        h(
            "div",
            { class: "bar panel" },
            field("Service", service),
            field("At least, ms", least, "narrow"),
            h("div", { class: "choice", role: "group", "aria-label": "Duration" }, presets),
            field("Text", text, "wide"),
            h("label", { class: "check" }, errors, "Errors only"),
            pause,
            status,
        ),
        h("div", { class: "panel plot" }, plot.node),
        h("div", { class: "panel scroll" }, table, nothing),
    );

    let paused = false;
    let pointed = false;
    let latest = { traces: [], cut: false };
    let order = "start_ms";
    let stop = null;
    let timer = 0;
    table.addEventListener("pointerenter", () => {
        pointed = true;
    });
    table.addEventListener("pointerleave", () => {
        pointed = false;
        told();
    });

    function read(query) {
        for (const name of Object.keys(filter)) filter[name] = query.get(name) ?? "";
        services();
        service.value = filter.service;
        least.value = filter.min_ms;
        text.value = filter.text;
        errors.checked = filter.errors !== "";
        restart();
    }
    function services() {
        offerServices(service, filter.service);
    }
    function set(name, value) {
        filter[name] = value;
        clearTimeout(timer);
        timer = setTimeout(restart, name === "text" || name === "min_ms" ? 250 : 0);
    }
    function slow(ms) {
        least.value = filter.min_ms === ms ? "" : ms;
        set("min_ms", least.value);
    }
    function restart() {
        presets.forEach((button, index) => attr(button, "aria-pressed", String(SLOW[index][0] === filter.min_ms)));
        const said = Object.entries(filter)
            .filter(([, value]) => value)
            .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
            .join("&");
        lastList = `#/traces${said ? `?${said}` : ""}`;
        history.replaceState(null, "", lastList);
        stop?.();
        let first = true;
        stop = every(POLL_MS, async (signal) => {
            const held = pointed || rows.contains(document.activeElement);
            if (!first && (paused || held)) return told();
            const answer = await get(["api", "traces"], { ...filter, limit: SHOWN }, signal).catch(problem);
            if (!answer) return;
            first = false;
            latest = answer;
            draw();
        });
    }
    function problem(error) {
        if (error.status) say(status, error.message);
        else throw error;
    }
    function toggle() {
        paused = !paused;
        pause.setAttribute("aria-pressed", String(paused));
        pause.firstChild.replaceWith(icon(paused ? "try" : "pause"));
        say(pauseWord, paused ? "Resume" : "Pause");
        told();
    }
    function sortBy(name) {
        order = name;
        draw();
    }
    function draw() {
        for (const [name, cell] of Object.entries(sorts)) attr(cell, "aria-sort", name === order ? "descending" : null);
        const traces = [...latest.traces].sort((a, b) => b[order] - a[order] || b.start_ms - a.start_ms);
        const longest = Math.max(...traces.map((trace) => trace.duration_ms), 0);
        keyed(
            rows,
            traces.map((trace) => ({ trace, longest })),
            ({ trace }) => trace.trace_id,
            ({ trace }) => traceRow(trace),
        );
        plot.update(traces);
        table.hidden = traces.length === 0;
        nothing.hidden = traces.length > 0;
        told();
    }
    function told() {
        const held = !paused && (pointed || rows.contains(document.activeElement));
        const many = latest.traces.length;
        const parts = [latest.cut ? `the newest ${count(many)}` : `${count(many)} ${many === 1 ? "trace" : "traces"}`];
        if (held) parts.push("held while you point at them");
        say(status, parts.join(", "));
    }
    read(route.query);
    const off = live.on("fleet", services);
    return {
        close: () => {
            off();
            stop?.();
            clearTimeout(timer);
        },
        change: (to) => {
            if (to.parts[0]) return false;
            read(to.query);
            return true;
        },
    };
}

function traceRow(first) {
    const bar = h("span", { class: "length", "aria-hidden": "true" }, h("i"));
    const took = h("span");
    const spans = h("td", { class: "n c-spans" });
    const services = h("td", { class: "c-services" });
    const result = h("td", { class: "c-result" });
    const node = h(
        "tr",
        { "data-trace": first.trace_id },
        h(
            "td",
            { class: "c-time mono" },
            h("time", { datetime: isoTime(first.start_ms) }, clock(first.start_ms, true)),
        ),
        h(
            "th",
            { scope: "row", class: "c-name" },
            h(
                "a",
                { href: `#/traces/${encodeURIComponent(first.trace_id)}`, "data-row": "" },
                h("span", { class: `service ${colour(first.service)}` }, first.service),
                spanName(first.name),
            ),
        ),
        h("td", { class: `c-duration ${colour(first.service)}` }, took, bar),
        spans,
        services,
        result,
    );
    return {
        node,
        update({ trace, longest }) {
            say(took, duration(trace.duration_ms));
            style(bar, "--part", (longest > 0 ? trace.duration_ms / longest : 0).toFixed(4));
            say(spans, count(trace.spans));
            keyed(
                services,
                [trace.service, ...trace.services.filter((name) => name !== trace.service).sort()],
                (name) => name,
                (name) => ({ node: h("span", { class: `chip ${colour(name)}` }, name) }),
            );
            const said = trace.error ? "error" : trace.complete ? "ok" : "incomplete";
            if (result.dataset.said === said) return;
            result.dataset.said = said;
            result.replaceChildren(h("span", { class: `result ${said}` }, trace.error ? icon("error") : null, said));
        },
    };
}

// ---- duration over time, logarithmic: what is slow stands apart ----

const PLOT = { height: 96, left: 56, right: 12, top: 10, bottom: 18 };

function scatter() {
    const axes = svg("g", { class: "axes" });
    const dots = svg("g");
    const picture = svg("svg", { height: PLOT.height, "aria-hidden": "true" }, axes, dots);
    const node = h("div", { class: "scatter" }, picture);
    let latest = [];
    const watch = new ResizeObserver(() => draw());
    watch.observe(node);
    function draw() {
        const width = node.clientWidth;
        if (!width) return;
        attr(picture, "width", width);
        const times = latest.map((trace) => trace.start_ms);
        const lasts = latest.map((trace) => Math.max(0.01, trace.duration_ms));
        const from = Math.min(...times);
        const to = Math.max(...times, from + 1);
        const low = Math.floor(Math.log10(Math.min(...lasts)));
        const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...lasts))));
        const x = (time) => PLOT.left + ((time - from) / (to - from)) * (width - PLOT.left - PLOT.right);
        const y = (ms) =>
            PLOT.height -
            PLOT.bottom -
            ((Math.log10(Math.max(0.01, ms)) - low) / (high - low)) * (PLOT.height - PLOT.top - PLOT.bottom);
        const lines = latest.length ? Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index)) : [];
        keyed(
            axes,
            lines.map((ms) => ({ ms, at: y(ms) })),
            (each) => each.ms,
            ({ ms }) => {
                const line = svg("line", { x1: PLOT.left });
                const text = svg(
                    "text",
                    { x: PLOT.left - 8, class: "end" },
                    ms < 1 ? `${ms * 1000} µs` : ms < 1000 ? `${ms} ms` : `${ms / 1000} s`,
                );
                return {
                    node: svg("g", null, line, text),
                    update: ({ at }) => {
                        attr(line, "x2", node.clientWidth - PLOT.right);
                        attr(line, "y1", at);
                        attr(line, "y2", at);
                        attr(text, "y", at + 4);
                    },
                };
            },
        );
        keyed(
            dots,
            latest.map((trace) => ({ trace, at: { x: x(trace.start_ms), y: y(trace.duration_ms) } })),
            ({ trace }) => trace.trace_id,
            ({ trace }) => {
                const dot = svg(
                    "circle",
                    { r: trace.error ? 4.5 : 3.5, class: trace.error ? "failed" : colour(trace.service) },
                    svg("title", null, `${trace.service} ${trace.name}, ${duration(trace.duration_ms)}`),
                );
                dot.addEventListener("click", () => {
                    location.hash = `#/traces/${encodeURIComponent(trace.trace_id)}`;
                });
                return {
                    node: dot,
                    update: ({ at }) => {
                        attr(dot, "cx", at.x.toFixed(1));
                        attr(dot, "cy", at.y.toFixed(1));
                    },
                };
            },
        );
        node.dataset.from = latest.length ? clock(from) : "";
        node.dataset.to = latest.length ? clock(to) : "";
    }
    return {
        node,
        update: (traces) => {
            latest = traces;
            draw();
        },
    };
}
