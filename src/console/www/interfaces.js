// interfaces -- what services offer: their HTTP APIs by OpenAPI, their gRPC methods by reflection.

import { colour, get } from "./api.js";
import { attr, copyButton, empty, h, heading, keyed, say } from "./dom.js";
import { plural } from "./format.js";
import { reference } from "./openapi.js";

export function open(root, route) {
    const stopped = new AbortController();
    const index = h("ul");
    const content = h("div", { class: "reference" });
    const frame = h(
        "div",
        { class: "two" },
        h("nav", { class: "panel index", "aria-label": "Services" }, index),
        content,
    );
    root.append(heading("Interfaces"), frame);
    let services = null;
    let shown = null;

    function choose(name) {
        const service =
            services.find((each) => each.name === name) ??
            services.find((each) => each.openapi || each.grpc.length) ??
            services[0];
        if (!service || service === shown) return;
        shown = service;
        for (const link of index.querySelectorAll("a"))
            attr(link, "aria-current", link.dataset.service === service.name ? "true" : null);
        content.replaceChildren(...page(service, stopped.signal));
    }
    get(["api", "interfaces"], {}, stopped.signal)
        .then((answer) => {
            services = [...answer.services].sort((a, b) => a.name.localeCompare(b.name));
            keyed(
                index,
                services,
                (service) => service.name,
                (service) => {
                    const offers = [service.openapi ? "HTTP" : null, service.grpc.length ? "gRPC" : null]
                        .filter(Boolean)
                        .join(", ");
                    return {
                        node: h(
                            "li",
                            null,
                            h(
                                "a",
                                {
                                    href: `#/interfaces/${encodeURIComponent(service.name)}`,
                                    "data-service": service.name,
                                },
                                h("span", { class: `swatch ${colour(service.name)}`, "aria-hidden": "true" }),
                                h("span", { class: "name" }, service.name),
                                h("span", { class: "note" }, offers || "admin only"),
                            ),
                        ),
                    };
                },
            );
            if (services.length === 0)
                frame.replaceChildren(
                    empty("No interface is known yet.", "Services appear here once they report to the console."),
                );
            else choose(route.parts[0]);
        })
        .catch((error) => {
            if (error.name !== "AbortError")
                frame.replaceChildren(empty(error.message, "Reload the page to try again."));
        });
    return {
        close: () => stopped.abort(),
        change: (to) => {
            if (services) choose(to.parts[0]);
            return true;
        },
    };
}

function page(service, signal) {
    const parts = [
        h(
            "div",
            { class: "reference-head" },
            h("h2", null, service.name),
            service.address
                ? [h("code", null, service.address), copyButton(service.address, `Copy the address of ${service.name}`)]
                : null,
        ),
    ];
    for (const each of service.grpc) parts.push(grpc(each));
    if (service.openapi) {
        const place = h("div", null, h("p", { class: "waiting" }, "Loading the description…"));
        parts.push(place);
        get(["api", "interfaces", service.name, "openapi.json"], {}, signal)
            .then((document) => place.replaceChildren(...reference(service.name, document)))
            .catch(
                (error) =>
                    error.name === "AbortError" ||
                    place.replaceChildren(empty("The description cannot be shown.", error.message)),
            );
    }
    if (!service.openapi && service.grpc.length === 0)
        parts.push(
            empty(
                "This service has no interface besides its admin listener.",
                "It serves /healthz, /readyz and /metrics only.",
            ),
        );
    return parts;
}

function grpc(service) {
    const methods = service.methods.map((method) => {
        const short = (type) => type.split(".").at(-1);
        const side = (type, streams) => [
            streams ? h("span", { class: "keyword" }, "stream ") : null,
            h("span", { class: "type", title: type }, short(type)),
        ];
        return h(
            "li",
            { class: "method" },
            h(
                "p",
                { class: "signature mono" },
                h("span", { class: "keyword" }, "rpc "),
                h("b", null, method.name),
                "(",
                side(method.request, method.client_streaming),
                ") ",
                h("span", { class: "keyword" }, "returns "),
                "(",
                side(method.response, method.server_streaming),
                ")",
            ),
            h(
                "div",
                { class: "command" },
                h(
                    "code",
                    { tabindex: "0", role: "region", "aria-label": `Command for ${method.name}` },
                    method.grpcurl,
                ),
                copyButton(method.grpcurl, `Copy the command for ${method.name}`),
            ),
        );
    });
    const title = h("h3", { class: "mono" });
    say(title, service.service);
    return h(
        "section",
        { class: "panel api" },
        h(
            "header",
            null,
            h("span", { class: "verb grpc" }, "gRPC"),
            title,
            h("span", { class: "note" }, plural(methods.length, "method")),
        ),
        h("ul", { class: "methods" }, methods),
    );
}
