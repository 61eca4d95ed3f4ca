// try -- sends a request or bounded traffic to a service; only where ./dev up started the console.

import { get, hasToken, live, post } from "./api.js";
import { copyButton, empty, field, h, heading, keyed, say, select } from "./dom.js";
import { duration, number } from "./format.js";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
const RATE = 200;
const SECONDS = 60;

export function open(root, route) {
    const place = h("div");
    root.append(heading("Try"), place);
    if (!hasToken()) {
        place.append(
            empty(
                "This page has no token.",
                "Open the address that ./dev up printed: it ends in #token=… .",
                "The token is kept in memory, so a reload forgets it.",
            ),
        );
        return { change: () => true };
    }
    const stopped = new AbortController();
    get(["api", "interfaces"], {}, stopped.signal)
        .then((answer) => {
            const services = answer.services
                .filter((service) => service.openapi)
                .sort((a, b) => a.name.localeCompare(b.name));
            if (services.length === 0)
                return place.replaceChildren(
                    empty(
                        "No service with an HTTP API is known yet.",
                        "Services appear here once they report to the console.",
                    ),
                );
            place.replaceChildren(...forms(services, route));
        })
        .catch(
            (error) =>
                error.name === "AbortError" ||
                place.replaceChildren(empty(error.message, "Reload the page to try again.")),
        );
    return { close: () => stopped.abort(), change: () => false };
}

function forms(services, route) {
    const names = services.map((service) => service.name);
    const first = names.includes(route.parts[0]) ? route.parts[0] : names[0];
    const paths = h("datalist", { id: "paths" });
    const suggest = (name) =>
        get(["api", "interfaces", name, "openapi.json"], {})
            .then((document) =>
                keyed(
                    paths,
                    Object.keys(document.paths ?? {}),
                    (path) => path,
                    (path) => ({ node: h("option", { value: path }) }),
                ),
            )
            .catch(() => {}); // without suggestions
    suggest(first);
    const chosen = (value) =>
        select(
            names.map((name) => [name, name]),
            value,
            suggest,
        );
    return [h("div", { class: "two even" }, request(chosen, first, route), traffic(chosen, first)), paths];
}

function request(chosen, first, route) {
    const service = chosen(first);
    const method = select(
        METHODS.map((name) => [name, name]),
        METHODS.includes(route.query.get("method")) ? route.query.get("method") : "GET",
        () => {},
    );
    const path = h("input", {
        type: "text",
        required: true,
        value: route.query.get("path") ?? "/",
        list: "paths",
        maxlength: 2000,
        spellcheck: "false",
        "data-filter": "",
    });
    const headers = h("textarea", { rows: 3, spellcheck: "false", placeholder: "Content-Type: application/json" });
    const body = h("textarea", { rows: 6, spellcheck: "false" });
    const send = h("button", { type: "submit", class: "primary" }, "Send");
    const result = h("div", { class: "answer", "aria-live": "polite" });
    const form = h(
        "form",
        { class: "panel form", onsubmit: submit },
        h("h2", null, "Request"),
        h("div", { class: "row" }, field("Service", service), field("Method", method), field("Path", path, "wide")),
        field("Headers, one per line", headers),
        field("Body", body),
        h("div", { class: "row end" }, send),
        result,
    );
    async function submit(event) {
        event.preventDefault();
        send.disabled = true;
        result.replaceChildren(h("p", { class: "waiting" }, "Waiting for the answer…"));
        try {
            result.replaceChildren(
                ...shown(
                    await post(["api", "try"], {
                        service: service.value,
                        method: method.value,
                        path: path.value,
                        headers: parsed(headers.value),
                        body: body.value,
                    }),
                ),
            );
        } catch (error) {
            result.replaceChildren(h("p", { class: "problem" }, error.message));
        } finally {
            send.disabled = false;
        }
    }
    return form;
}

function parsed(text) {
    const headers = {};
    for (const line of text
        .split("\n")
        .map((each) => each.trim())
        .filter(Boolean)) {
        const colon = line.indexOf(":");
        if (colon < 1) throw new Error(`This line is no header: ${line}`);
        headers[line.slice(0, colon).trim()] = line.slice(colon + 1).trim();
    }
    return headers;
}

function shown(answer) {
    let text = answer.body ?? "";
    try {
        text = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
        // Not JSON: as it is.
    }
    return [
        h(
            "p",
            { class: "facts" },
            h("span", { class: `status s${String(answer.status)[0]}` }, String(answer.status)),
            h("b", null, duration(answer.duration_ms)),
            copyButton(text, "Copy the body"),
        ),
        h(
            "dl",
            { class: "fields" },
            Object.entries(answer.headers ?? {}).map(([name, value]) => [
                h("dt", null, name),
                h("dd", null, String(value)),
            ]),
        ),
        text
            ? h("pre", { tabindex: "0", role: "region", "aria-label": "Body of the answer" }, text)
            : h("p", { class: "note" }, "No body."),
    ];
}

function traffic(chosen, first) {
    const service = chosen(first);
    const path = h("input", {
        type: "text",
        required: true,
        value: "/",
        list: "paths",
        maxlength: 2000,
        spellcheck: "false",
    });
    const rate = h("input", { type: "number", required: true, min: 1, max: RATE, value: 20 });
    const seconds = h("input", { type: "number", required: true, min: 1, max: SECONDS, value: 30 });
    const said = h(
        "p",
        { class: "note", role: "status" },
        `GET requests from this machine, at most ${RATE} a second for ${SECONDS} s.`,
    );
    const start = h("button", { type: "submit", class: "primary" }, "Start");
    const stats = h("p", { class: "note" });
    const watch = live.on("fleet", (fleet) => {
        if (!stats.isConnected) return watch();
        const replicas = fleet.services.find((each) => each.name === service.value)?.replicas ?? [];
        const rate = replicas.reduce((sum, each) => sum + each.requests_per_s, 0);
        say(stats, `${service.value} answers ${number(rate)} requests/s now.`);
    });
    return h(
        "form",
        { class: "panel form", onsubmit: submit },
        h("h2", null, "Traffic"),
        h("div", { class: "row" }, field("Service", service), field("Path", path, "wide")),
        h("div", { class: "row" }, field("Requests per second", rate), field("Seconds", seconds)),
        said,
        stats,
        h("div", { class: "row end" }, start),
    );
    async function submit(event) {
        event.preventDefault();
        start.disabled = true;
        try {
            await post(["api", "traffic"], {
                service: service.value,
                path: path.value,
                requests_per_s: Number(rate.value),
                seconds: Number(seconds.value),
            });
            say(said, `Sending ${rate.value} requests/s to ${service.value} for ${seconds.value} s.`);
            setTimeout(
                () => {
                    start.disabled = false;
                },
                Number(seconds.value) * 1000,
            );
        } catch (error) {
            say(said, error.message);
            start.disabled = false;
        }
    }
}
