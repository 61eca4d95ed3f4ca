// map -- services as boxes and the flows between them as curves, from left to right.

import { colour } from "./api.js";
import { attr, h, keyed, say, stateMark, style, svg } from "./dom.js";
import { duration, number } from "./format.js";

const BOX = { width: 188, height: 54, above: 14 };
const CLIENTS = { name: "clients", width: 92 };
const GAP = { least: 72, most: 210 };
const MARKS = 10; // replicas of a service that are drawn
const STATES = ["ready", "starting", "draining", "gone"];

// How far each name is from where requests come from: by the longest way, without going in circles.
function depths(names, flows) {
    const depth = new Map(names.map((name) => [name, 0]));
    for (let round = 0; round < names.length; round += 1) {
        let changed = false;
        for (const { from, to } of flows) {
            if (from === to || !depth.has(from) || !depth.has(to)) continue;
            if (depth.get(to) < depth.get(from) + 1 && depth.get(from) + 1 < names.length) {
                depth.set(to, depth.get(from) + 1);
                changed = true;
            }
        }
        if (!changed) break;
    }
    return depth;
}

// Columns of names, each near those that call it.
function columns(fleet) {
    const names = fleet.services.map((service) => service.name).sort();
    const clients = fleet.flows.some((flow) => flow.from === CLIENTS.name) ? [CLIENTS.name] : [];
    const linked = new Set(fleet.flows.flatMap((flow) => [flow.from, flow.to]));
    const depth = depths([...clients, ...names], fleet.flows);
    const result = [];
    for (const name of [...clients, ...names]) {
        if (!linked.has(name)) continue;
        (result[depth.get(name)] ??= []).push(name);
    }
    return {
        columns: [...result].map((column) => column ?? []).filter((column) => column.length),
        apart: names.filter((name) => !linked.has(name)),
    };
}

// Where each box stands: { name: { x, y, width } }, and the whole's height.
function layout(fleet, width) {
    const { columns: found, apart } = columns(fleet);
    const all = found.length ? found : [[]];
    const sizes = all.map((column) => (column.length === 1 && column[0] === CLIENTS.name ? CLIENTS.width : BOX.width));
    const boxes = sizes.reduce((total, size) => total + size, 0);
    const extra = apart.length ? BOX.width + GAP.least : 0;
    const gap =
        all.length > 1 ? Math.max(GAP.least, Math.min(GAP.most, (width - boxes - extra) / (all.length - 1))) : 0;
    const step = BOX.height + BOX.above;
    const rows = Math.max(1, apart.length, ...all.map((column) => column.length));
    const height = rows * step - BOX.above;
    const places = new Map();
    let x = 0;
    all.forEach((column, index) => {
        const callers = (name) =>
            fleet.flows
                .filter((flow) => flow.to === name && places.has(flow.from))
                .map((flow) => places.get(flow.from).y);
        const wish = new Map(
            column.map((name, at) => {
                const near = index === 0 ? [] : callers(name);
                return [
                    name,
                    near.length && all[index - 1].length > 1
                        ? near.reduce((a, b) => a + b) / near.length
                        : (height - column.length * step + BOX.above) / 2 + at * step,
                ];
            }),
        );
        const sorted = [...column].sort((a, b) => wish.get(a) - wish.get(b));
        let free = 0;
        sorted.forEach((name, at) => {
            const most = height - (sorted.length - at) * step + BOX.above;
            const y = Math.min(Math.max(free, wish.get(name)), most);
            places.set(name, { x, y, width: sizes[index] });
            free = y + step;
        });
        x += sizes[index] + gap;
    });
    const used = found.length ? x - gap : -GAP.least;
    const right = Math.max(used + GAP.least, found.length ? width - BOX.width : 0);
    apart.forEach((name, at) => places.set(name, { x: right, y: at * step, width: BOX.width, apart: true }));
    return { places, height, width: Math.max(width, used, apart.length ? right + BOX.width : 0) };
}

function box(name) {
    const rate = h("span", { class: "rate" });
    const marks = h("span", { class: "marks" });
    const state = h("span", { class: "hidden" });
    const client = name === CLIENTS.name;
    const node = client
        ? h("div", { class: "box clients" }, h("span", { class: "name" }, "clients"), rate)
        : h(
              "a",
              { class: `box ${colour(name)}`, href: `#/fleet/${encodeURIComponent(name)}` },
              h("span", { class: "name", title: name }, name),
              rate,
              state,
              marks,
          );
    function update({ place, service, flows }) {
        style(node, "left", `${place.x}px`);
        style(node, "top", `${place.y}px`);
        style(node, "width", `${place.width}px`);
        node.classList.toggle("apart", place.apart === true);
        const total = client
            ? flows.filter((flow) => flow.from === name).reduce((sum, flow) => sum + flow.requests_per_s, 0)
            : service.replicas.reduce((sum, replica) => sum + replica.requests_per_s, 0);
        say(rate, `${number(total)}/s`);
        if (client) return;
        const drawn = STATES.flatMap((state) => service.replicas.filter((replica) => replica.state === state)).slice(
            0,
            MARKS,
        );
        keyed(
            marks,
            drawn,
            (replica) => `${replica.id} ${replica.state}`,
            (replica) => ({ node: stateMark(replica.state) }),
        );
        const ready = service.replicas.filter((replica) => replica.state === "ready").length;
        const failing = service.replicas.reduce((sum, replica) => sum + replica.errors_per_s, 0);
        node.classList.toggle("failing", failing > 0);
        say(
            state,
            `requests, ${number(failing)} errors per second, ${ready} of ${service.replicas.length} replicas ready`,
        );
    }
    return { node, update };
}

function curve(flow) {
    const line = svg("path", { class: "flow" });
    const text = svg("text", { class: "flow-text" });
    const node = svg("g", { class: flow.from === CLIENTS.name ? "from-clients" : colour(flow.from) }, line, text);
    function update({ from, to, flow: said, nth }) {
        const x1 = from.x + from.width;
        const y1 = from.y + BOX.height / 2;
        const x2 = to.x;
        const y2 = to.y + BOX.height / 2 + nth * 10;
        const bend = Math.max(30, (x2 - x1) / 2);
        attr(line, "d", `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`);
        attr(line, "stroke-width", (1 + Math.log10(1 + said.requests_per_s)).toFixed(2));
        node.classList.toggle("failing", said.errors_per_s > 0);
        attr(text, "x", x2 - 8);
        attr(text, "y", y1 < y2 - 1 ? y2 + 16 : y2 - 7); // on the side that the curve does not come from
        const failed = said.errors_per_s > 0 ? ` · ${number(said.errors_per_s)} err/s` : "";
        say(text, `${number(said.requests_per_s)}/s · ${duration(said.p99_ms)}${failed}`);
    }
    return { node, update };
}

// The same as a table: for a narrow page, and for those who do not see the picture.
function flowRow(first) {
    const cells = [1, 2, 3].map(() => h("td", { class: "n" }));
    const node = h("tr", null, h("th", { scope: "row" }, `${first.from} → ${first.to}`), cells);
    return {
        node,
        update(flow) {
            say(cells[0], number(flow.requests_per_s));
            say(cells[1], number(flow.errors_per_s));
            say(cells[2], duration(flow.p99_ms));
        },
    };
}

export function map() {
    const curves = svg("g");
    const picture = svg("svg", { class: "curves", "aria-hidden": "true" }, curves);
    const boxes = h("div", { class: "boxes" });
    const canvas = h("div", { class: "map" }, picture, boxes);
    const rows = h("tbody");
    const table = h(
        "table",
        { class: "grid flows" },
        h("caption", { class: "hidden" }, "Flows between services"),
        h(
            "thead",
            null,
            h(
                "tr",
                null,
                h("th", { scope: "col" }, "Flow"),
                ["req/s", "err/s", "p99"].map((name) => h("th", { scope: "col", class: "n" }, name)),
            ),
        ),
        rows,
    );
    const none = h("p", { class: "note" }, "Flows appear here once traces of requests arrive.");
    const node = h("div", { class: "flowmap" }, canvas, table, none);
    let latest = null;
    const watch = new ResizeObserver(() => latest && draw());
    watch.observe(node);

    const key = (flow) => `${flow.from} ${flow.to}`;
    function draw() {
        const fleet = latest;
        const room = canvas.clientWidth;
        if (!room) return;
        const { places, height, width } = layout(fleet, room);
        style(canvas, "height", `${height}px`);
        attr(picture, "width", width);
        attr(picture, "height", height);
        const services = new Map(fleet.services.map((service) => [service.name, service]));
        const shown = [...places].map(([name, place]) => ({
            name,
            place,
            service: services.get(name),
            flows: fleet.flows,
        }));
        keyed(
            boxes,
            shown,
            (each) => each.name,
            (each) => box(each.name),
        );
        const met = new Map();
        const drawn = fleet.flows
            .filter((flow) => places.has(flow.from) && places.has(flow.to) && flow.from !== flow.to)
            .map((flow) => {
                const nth = met.get(flow.to) ?? 0;
                met.set(flow.to, nth + 1);
                return { from: places.get(flow.from), to: places.get(flow.to), flow, nth };
            });
        keyed(
            curves,
            drawn,
            (each) => key(each.flow),
            (each) => curve(each.flow),
        );
    }
    return {
        node,
        close: () => watch.disconnect(),
        update(fleet) {
            latest = fleet;
            keyed(rows, fleet.flows, key, flowRow);
            table.hidden = fleet.flows.length === 0;
            none.hidden = fleet.flows.length > 0;
            draw();
        },
    };
}
