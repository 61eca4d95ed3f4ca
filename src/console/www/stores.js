// stores -- where services keep data: engine, revision, lag, size against the limit.

import { colour, every, get, Refused } from "./api.js";
import { attr, empty, h, heading, keyed, say, scroller, style } from "./dom.js";
import { bytes, count, duration, instanceName, millis, NONE, number, percent } from "./format.js";

const POLL_MS = 2000;

export function open(root) {
    const cards = h("div", { class: "cards" });
    const nothing = empty(
        "No service has reported a store.",
        "Services that keep data (notes, feature-store) report their engine here. Start them with ./dev up.",
    );
    nothing.hidden = true;
    root.append(heading("Stores"), nothing, cards);
    const stop = every(POLL_MS, async (signal) => {
        const answer = await get(["api", "stores"], {}, signal).catch((error) => {
            if (error instanceof Refused) return { stores: [] };
            throw error;
        });
        const groups = new Map();
        for (const store of answer.stores) groups.set(store.service, [...(groups.get(store.service) ?? []), store]);
        nothing.hidden = groups.size > 0;
        keyed(
            cards,
            [...groups].sort(([a], [b]) => a.localeCompare(b)),
            ([name]) => name,
            ([name]) => card(name),
        );
    });
    return { close: stop, change: () => true };
}

const HEAD = [
    ["Replica", ""],
    ["Revision", "n"],
    ["Lag", "n"],
    ["Records", "n"],
    ["Size", ""],
    ["Commits/s", "n"],
    ["Commit p99 ms", "n"],
];

function card(name) {
    const rows = h("tbody");
    const engine = h("span", { class: "version" });
    const replicas = h("span", { class: "note" });
    const table = h(
        "table",
        { class: "grid" },
        h("caption", { class: "hidden" }, `Stores of ${name}`),
        h(
            "thead",
            null,
            h(
                "tr",
                null,
                HEAD.map(([text, kind]) => h("th", { scope: "col", class: kind }, text)),
            ),
        ),
        rows,
    );
    const node = h(
        "section",
        { class: `card panel whole ${colour(name)}`, "aria-label": name },
        h("header", null, h("span", { class: "swatch", "aria-hidden": "true" }), h("h2", null, name), engine, replicas),
        scroller(`Stores of ${name}`, table),
    );
    return {
        node,
        update([, stores]) {
            say(engine, [...new Set(stores.map((store) => store.engine))].join(", "));
            say(replicas, stores.length === 1 ? "1 replica" : `${stores.length} replicas`);
            keyed(
                rows,
                stores,
                (store) => store.instance,
                (store) => row(name, store),
            );
        },
    };
}

function row(service, first) {
    const cells = HEAD.slice(1).map(([, kind]) => h("td", { class: kind }));
    const [revision, lag, records, size, commits, slow] = cells;
    const text = h("span");
    const meter = h("span", { class: "meter wide" }, h("span", { class: "bar", "aria-hidden": "true" }, h("i")), text);
    size.append(meter);
    const node = h(
        "tr",
        null,
        h("th", { scope: "row", class: "mono", title: first.instance }, instanceName(service, first.instance)),
        cells,
    );
    return {
        node,
        update(store) {
            const part = store.limit_bytes ? store.bytes / store.limit_bytes : 0;
            say(revision, count(store.revision));
            say(lag, store.lag_ms === null ? NONE : duration(store.lag_ms));
            say(records, count(store.records));
            say(
                text,
                store.limit_bytes
                    ? `${bytes(store.bytes)} of ${bytes(store.limit_bytes)}, ${percent(part)}`
                    : bytes(store.bytes),
            );
            style(meter, "--part", Math.min(1, part).toFixed(4));
            meter.classList.toggle("high", part >= 0.8);
            attr(meter, "title", part >= 0.8 ? "The store is nearly full: writes are refused at the limit." : null);
            say(commits, number(store.commits_per_s));
            say(slow, millis(store.commit_p99_ms));
        },
    };
}
