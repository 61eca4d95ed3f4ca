// logs -- the lines of all services as they come, newest at the bottom.

import { get, live } from "./api.js";
import { clear, empty, field, h, heading, icon, say, select } from "./dom.js";
import { count } from "./format.js";
import { lineRow, SEVERITIES, severityOptions } from "./lines.js";
import { offerServices } from "./services.js";

const ROWS = 1000; // in the document
const FIRST = 200;
const WAITING = 2000; // while paused
const OVERTAKEN = 200; // rows at the end among which a line finds its place

const id = (line) => `${line.time_ms} ${line.service} ${line.instance} ${line.span_id ?? ""} ${line.message}`;

export function open(root, route) {
    const filter = { service: "", severity: "", text: "" };
    const list = h("ol", { class: "lines", "data-rows": "" });
    const status = h("span", { class: "note" });
    const behind = h("button", { type: "button", class: "behind", hidden: true, onclick: resume });
    const earlier = h("button", { type: "button", class: "quiet", onclick: older }, "Load earlier lines");
    const nothing = empty(
        "No line matches.",
        "Lines appear here as services log them. Widen the filter, or send a request.",
    );
    const view = h(
        "div",
        { class: "loglist", tabindex: "0", role: "region", "aria-label": "Log lines", onscroll: scrolled },
        earlier,
        nothing,
        list,
    );
    const pauseWord = h("span", null, "Pause");
    const pause = h(
        "button",
        { type: "button", "data-pause": "", onclick: () => (paused ? resume() : hold("paused")) },
        icon("pause"),
        pauseWord,
    );
    const service = h("select", { onchange: (event) => set("service", event.target.value) });
    const severity = select(severityOptions(), "", (value) => set("severity", value));
    const text = h("input", {
        type: "search",
        placeholder: "Text of the message",
        maxlength: 200,
        "data-filter": "",
        oninput: (event) => set("text", event.target.value),
    });
    root.append(
        heading("Logs"),
        h(
            "div",
            { class: "bar panel" },
            field("Service", service),
            field("Severity", severity),
            field("Text", text, "wide"),
            pause,
            status,
        ),
        h("div", { class: "panel logs" }, view, behind),
    );

    let paused = "";
    let waiting = []; // lines that came while paused
    let missed = 0;
    let cut = false;
    let loading = null;
    let early = []; // lines that came while the first ones are loaded
    let timer = 0;
    const times = new WeakMap(); // row -> ms

    function read(query) {
        for (const name of Object.keys(filter)) filter[name] = query.get(name) ?? "";
        if (!SEVERITIES.includes(filter.severity)) filter.severity = "";
        services();
        service.value = filter.service;
        severity.value = filter.severity;
        text.value = filter.text;
        load();
    }

    function services() {
        offerServices(service, filter.service);
    }

    function set(name, value) {
        filter[name] = value;
        clearTimeout(timer);
        timer = setTimeout(load, name === "text" ? 250 : 0);
    }

    async function load() {
        const said = Object.entries(filter)
            .filter(([, value]) => value)
            .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
            .join("&");
        history.replaceState(null, "", `#/logs${said ? `?${said}` : ""}`);
        loading?.abort();
        const mine = new AbortController();
        loading = mine;
        early = [];
        live.follow({ ...filter });
        try {
            const answer = await get(["api", "logs"], { ...filter, limit: FIRST }, mine.signal);
            clear(list);
            waiting = [];
            missed = 0;
            cut = answer.cut;
            const lines = answer.lines.reverse();
            const have = new Set(lines.map(id));
            append([...lines, ...early.filter((line) => !have.has(id(line)))]);
            loading = null;
            resume();
        } catch (error) {
            if (error.name === "AbortError") return;
            if (loading === mine) loading = null;
            say(status, error.message);
        }
    }

    async function older() {
        const first = list.firstElementChild?.querySelector("time")?.dateTime;
        if (!first) return;
        hold("held");
        const answer = await get(["api", "logs"], { ...filter, before_ms: Date.parse(first), limit: FIRST }).catch(
            () => null,
        );
        if (!answer) return;
        const room = Math.max(0, ROWS - list.childElementCount);
        const lines = answer.lines.slice(0, room).reverse();
        cut = answer.cut || lines.length < answer.lines.length;
        const before = view.scrollHeight;
        const rows = lines.map((line) => lineRow(line));
        rows.forEach((row, index) => times.set(row, lines[index].time_ms));
        list.prepend(...rows);
        view.scrollTop += view.scrollHeight - before;
        told();
    }

    function append(lines) {
        const kept = lines.slice(-ROWS);
        cut ||= kept.length < lines.length;
        for (const line of kept) place(lineRow(line), line.time_ms);
        for (let more = list.childElementCount - ROWS; more > 0; more -= 1) {
            list.firstElementChild.remove();
            cut = true;
        }
    }

    // By its time: services send theirs in batches, so that lines of different services overtake each other.
    function place(row, time_ms) {
        times.set(row, time_ms);
        let at = list.lastElementChild;
        for (let steps = 0; at && times.get(at) > time_ms && steps < OVERTAKEN; steps += 1)
            at = at.previousElementSibling;
        if (at) at.after(row);
        else list.prepend(row);
    }

    function arrived({ lines, missed: left }) {
        missed += left ?? 0;
        if (loading) early.push(...lines);
        else if (paused) {
            waiting.push(...lines);
            if (waiting.length > WAITING) {
                missed += waiting.length - WAITING;
                waiting = waiting.slice(-WAITING);
            }
        } else {
            append(lines);
            view.scrollTop = view.scrollHeight;
        }
        told();
    }

    function hold(kind) {
        if (paused === "paused") return;
        paused = kind;
        told();
    }

    function resume() {
        paused = "";
        append(waiting);
        waiting = [];
        view.scrollTop = view.scrollHeight;
        told();
    }

    // Whoever scrolls up reads: lines wait until the end is reached again.
    function scrolled() {
        const atEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 8;
        if (!atEnd && !paused) hold("held");
        else if (atEnd && paused === "held") resume();
    }

    function told() {
        const shown = list.childElementCount;
        nothing.hidden = shown > 0;
        earlier.hidden = !cut || shown === 0 || shown >= ROWS;
        behind.hidden = !paused || waiting.length === 0;
        say(behind, `${count(waiting.length)} new ${waiting.length === 1 ? "line" : "lines"} ↓`);
        say(pauseWord, paused ? "Resume" : "Pause");
        pause.firstChild.replaceWith(icon(paused ? "try" : "pause"));
        const parts = [`${count(shown)} lines`];
        if (shown >= ROWS) parts.push("the newest are shown");
        if (missed) parts.push(`${count(missed)} left out: too many a second`);
        say(status, parts.join(", "));
    }

    read(route.query);
    const stops = [live.on("log", arrived), live.on("fleet", services)];
    return {
        close: () => {
            stops.forEach((stop) => stop());
            loading?.abort();
            clearTimeout(timer);
            live.follow(null);
        },
        change: (to) => {
            read(to.query);
            return true;
        },
    };
}
