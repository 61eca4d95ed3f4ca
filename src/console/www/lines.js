// lines -- log lines: one row each, which opens to its fields.

import { colour } from "./api.js";
import { h, svg } from "./dom.js";
import { clock, duration, isoTime } from "./format.js";

export const SEVERITIES = ["DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"];
const INLINE = 4;
const USUAL = /^(url\.scheme|server\.|network\.|client\.|user_agent\.|http\.request\.body)/; // the same in most lines
const SHORT = { DEBUG: "debug", INFO: "info", NOTICE: "notice", WARNING: "warn", ERROR: "error", CRITICAL: "crit" };

export function severityOptions() {
    return [
        ["", "All severities"],
        ...SEVERITIES.slice(1).map((name) => [name, `${name[0]}${name.slice(1).toLowerCase()} and above`]),
    ];
}

function mark(severity) {
    if (severity !== "WARNING" && severity !== "ERROR" && severity !== "CRITICAL") return null;
    return svg(
        "svg",
        { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" },
        severity === "WARNING"
            ? svg("path", { d: "M8 3 14 13H2z" })
            : svg("path", { d: "M5.3 2h5.4L14 5.3v5.4L10.7 14H5.3L2 10.7V5.3z" }),
    );
}

export function fields(entries) {
    return h(
        "dl",
        { class: "fields" },
        entries.map(([name, value]) => [h("dt", null, name), h("dd", null, String(value))]),
    );
}

// A row of a line. when(line) is the text of its time; trace: whether it leads to its trace;
// brief: without fields until it opens; opened(line) is told when it does.
export function lineRow(line, { when, trace = true, brief = false, opened } = {}) {
    const severity = SEVERITIES.includes(line.severity) ? line.severity : "INFO";
    const button = h(
        "button",
        { class: "line", type: "button", "aria-expanded": "false", "data-row": "", onclick: toggle },
        h(
            "time",
            { datetime: isoTime(line.time_ms), title: isoTime(line.time_ms) },
            when ? when(line) : clock(line.time_ms, true),
        ),
        h("span", { class: `severity ${severity.toLowerCase()}` }, mark(severity), SHORT[severity]),
        h("span", { class: `service ${colour(line.service)}`, title: line.instance }, line.service),
        h("span", { class: "message" }, line.message, brief ? null : inline(line.fields, line.message)),
    );
    const node = h("li", { class: `entry ${severity.toLowerCase()}`, "data-span": line.span_id ?? "" }, button);
    let details = null;
    function toggle() {
        const open = details === null;
        button.setAttribute("aria-expanded", String(open));
        if (open) node.append((details = detailsOf(line, trace)));
        else {
            details.remove();
            details = null;
        }
        if (open) opened?.(line);
    }
    return node;
}

// What the fields add to the message: how long it took, then those that the message does not hold already.
function inline(fields, message) {
    const said = Object.entries(fields ?? {}).filter(
        ([name, value]) =>
            !USUAL.test(name) && name !== "latency_us" && value !== 0 && !message.includes(String(value)),
    );
    const texts = said.slice(0, INLINE).map(([name, value]) => `${name}=${value}`);
    if (typeof fields?.latency_us === "number") texts.unshift(duration(fields.latency_us / 1000));
    return texts.length ? h("span", { class: "more" }, `  ${texts.join("  ")}`) : null;
}

function detailsOf(line, trace) {
    const entries = [
        ["time", isoTime(line.time_ms)],
        ["instance", line.instance],
        ...Object.entries(line.fields ?? {}),
    ];
    if (line.trace_id) entries.push(["trace_id", line.trace_id]);
    if (line.span_id) entries.push(["span_id", line.span_id]);
    const query = line.span_id ? `?span=${encodeURIComponent(line.span_id)}` : "";
    const link =
        trace && line.trace_id
            ? h("a", { class: "button", href: `#/traces/${encodeURIComponent(line.trace_id)}${query}` }, "Open trace")
            : null;
    return h("div", { class: "details" }, h("p", { class: "full" }, line.message), fields(entries), link);
}
