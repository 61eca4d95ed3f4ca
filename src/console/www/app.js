// app -- the frame around the views: routes, navigation, state of the connection, colours, keys.

import { live, takeToken } from "./api.js";
import { attr, clear, h, icon, say } from "./dom.js";
import * as fleet from "./fleet.js";
import * as interfaces from "./interfaces.js";
import * as logs from "./logs.js";
import * as stores from "./stores.js";
import * as timeline from "./timeline.js";
import * as traces from "./traces.js";
import * as tryout from "./try.js";

// A view's open(root, route) fills root and returns { change?(route), close?() }. change is called instead of close and
// open when the route stays within the view; it returns false where the view has to be opened anew.
const VIEWS = [
    { id: "fleet", label: "Fleet", view: fleet },
    { id: "traces", label: "Traces", view: traces },
    { id: "logs", label: "Logs", view: logs },
    { id: "timeline", label: "Timeline", view: timeline },
    { id: "stores", label: "Stores", view: stores },
    { id: "interfaces", label: "Interfaces", view: interfaces },
    { id: "try", label: "Try", view: tryout, local: true },
];
const FIRST_MS = 1500;
const ON_A_PHONE = 4; // the others are behind "More"

const byId = (id) => document.getElementById(id);
const main = byId("main");
let current = null; // { id, handle }

// ---- routes: #/VIEW/PART...?NAME=VALUE ----

function decoded(text) {
    try {
        return decodeURIComponent(text);
    } catch {
        return text;
    }
}

function route() {
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    const [id = "", ...parts] = path.split("/").map(decoded);
    return { id, parts, query: new URLSearchParams(query) };
}

function show() {
    const to = route();
    const entry = VIEWS.find((each) => each.id === to.id) ?? VIEWS[0];
    for (const link of document.querySelectorAll("[data-view]")) {
        attr(link, "aria-current", link.dataset.view === entry.id ? "page" : null);
    }
    byId("more-button")?.classList.toggle("here", VIEWS.indexOf(entry) >= ON_A_PHONE);
    document.title = `${entry.label} · Slipway console`;
    if (current?.id === entry.id && current.handle.change?.(to)) return;
    const moved = current !== null;
    current?.handle.close?.();
    clear(main);
    main.dataset.view = entry.id;
    current = { id: entry.id, handle: entry.view.open(main, to) ?? {} };
    window.scrollTo(0, 0);
    if (moved) main.focus({ preventScroll: true });
}

// ---- navigation ----

function navigation() {
    const link = (each) =>
        h(
            "a",
            { href: `#/${each.id}`, "data-view": each.id, "data-local": each.local },
            icon(each.id),
            h("span", null, each.label),
        );
    const items = VIEWS.map((each, at) => h("li", { class: at < ON_A_PHONE ? null : "later" }, link(each)));
    const rest = h("div", { id: "more", popover: "auto" }, VIEWS.slice(ON_A_PHONE).map(link));
    const more = h(
        "button",
        { id: "more-button", type: "button", popovertarget: "more" },
        icon("more"),
        h("span", null, "More"),
    );
    rest.addEventListener("click", () => rest.hidePopover());
    byId("nav").append(...items, h("li", { class: "more" }, more));
    document.body.append(rest);
}

// What changes things exists only where the console was started by ./dev up.
function mode(said) {
    document.documentElement.dataset.mode = said.mode;
    say(byId("mode"), said.mode === "local" ? "local" : "cluster");
}

// ---- connection ----

const WORDS = { connecting: "Connecting", live: "Live", lost: "Connection lost", paused: "Paused while hidden" };

function connection() {
    const banner = byId("lost");
    const text = h("span", null);
    banner.append(icon("error"), text, h("button", { type: "button", onclick: () => live.retryNow() }, "Retry now"));
    const update = () => {
        byId("connection").dataset.state = live.state;
        say(byId("connection-text"), WORDS[live.state]);
        document.documentElement.classList.toggle("stale", live.state === "lost");
        banner.hidden = live.state !== "lost";
        if (live.state === "lost") say(text, "The console cannot be reached. What is shown is the last that arrived.");
    };
    live.on("state", update);
    live.on("retry", (ms) => say(byId("connection-text"), ms > 0 ? `Retry in ${Math.ceil(ms / 1000)} s` : "Retrying"));
    live.on("fleet", mode);
    update();
}

// ---- colours ----

const THEMES = { system: "colours of the system", light: "light colours", dark: "dark colours" };

function themeSwitch() {
    const names = Object.keys(THEMES);
    const button = h("button", { type: "button", class: "tool", id: "theme", onclick: next });
    function shown() {
        const name = document.documentElement.dataset.theme ?? "system";
        button.replaceChildren(icon(name));
        attr(button, "aria-label", `Theme: ${THEMES[name]}. Change`);
        attr(button, "title", `Theme: ${THEMES[name]}`);
    }
    function next() {
        const name = names[(names.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % names.length];
        if (name === "system") delete document.documentElement.dataset.theme;
        else document.documentElement.dataset.theme = name;
        keep("theme", name);
        shown();
    }
    shown();
    return button;
}

function keep(name, value) {
    try {
        localStorage.setItem(name, value);
    } catch {
        // Not kept: the next visit begins with the default.
    }
}

function keptValue(name) {
    try {
        return localStorage.getItem(name);
    } catch {
        return null;
    }
}

// ---- keys ----

const typing = (target) => target.closest?.("input, textarea, select, [contenteditable]") !== null;

function keys() {
    const help = byId("help");
    const enabled = h("input", {
        type: "checkbox",
        onchange: (event) => keep("keys", event.target.checked ? "on" : "off"),
    });
    enabled.checked = keptValue("keys") !== "off";
    const row = (key, what) => h("tr", null, h("td", null, h("kbd", null, key)), h("td", null, what));
    help.append(
        h("h2", { id: "help-title" }, "Keyboard"),
        h(
            "table",
            { class: "keys" },
            h(
                "tbody",
                null,
                VIEWS.map((each, at) => row(String(at + 1), each.label)),
                row("/", "Filter of the view"),
                row("p", "Pause or resume"),
                row("↑ ↓", "Next or previous row of a list"),
                row("Esc", "Back from a trace; close"),
                row("?", "This help"),
            ),
        ),
        h("label", { class: "check" }, enabled, "Keys of one character are enabled"),
        h("form", { method: "dialog" }, h("button", { type: "submit" }, "Close")),
    );
    document.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || help.open) return;
        if (event.key === "Escape" && !typing(event.target)) return escape();
        if (!enabled.checked || typing(event.target)) return;
        const view = VIEWS[Number(event.key) - 1];
        if (view && (!view.local || document.documentElement.dataset.mode === "local")) location.hash = `#/${view.id}`;
        else if (event.key === "?") help.showModal();
        else if (event.key === "/") main.querySelector("[data-filter]")?.focus();
        else if (event.key === "p") main.querySelector("[data-pause]")?.click();
        else return;
        event.preventDefault();
    });
    return h(
        "button",
        {
            type: "button",
            class: "tool",
            "aria-label": "Keyboard help",
            title: "Keyboard (?)",
            onclick: () => help.showModal(),
        },
        icon("help"),
    );
}

function escape() {
    const back = main.querySelector("[data-back]");
    if (back) location.hash = back.getAttribute("href");
}

// Up and down move the focus between the rows of a list that is marked data-rows.
function rows() {
    main.addEventListener("keydown", (event) => {
        const list = event.target.closest?.("[data-rows]");
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (!list || !step || typing(event.target)) return;
        const all = [...list.querySelectorAll("[data-row]")];
        const next = all[all.indexOf(event.target.closest("[data-row]")) + step];
        if (!next) return;
        event.preventDefault();
        next.focus();
    });
}

byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
});
takeToken();
navigation();
byId("tools").append(themeSwitch(), keys());
connection();
rows();
window.addEventListener("hashchange", () => {
    takeToken();
    show();
});
live.start();
// The first view waits for the fleet, by which services have their colours; but not long.
const begin = () => current || show();
live.on("fleet", begin);
setTimeout(begin, FIRST_MS);
