// openapi -- draws an OpenAPI 3 document as a reference. It is data like any other: texts only, bounded depth.

import { h, scroller } from "./dom.js";
import { plural } from "./format.js";

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];
const DEPTH = 6;

const object = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const entries = (value) => (object(value) ? Object.entries(value) : []);
const list = (value) => (Array.isArray(value) ? value : []);

// What a value stands for: itself, or what its $ref names in this document.
function resolved(document, value, hops = 8) {
    while (object(value) && typeof value.$ref === "string" && hops > 0) {
        hops -= 1;
        if (!value.$ref.startsWith("#/")) return {};
        value = value.$ref
            .slice(2)
            .split("/")
            .reduce((at, step) => {
                const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
                return at !== null && typeof at === "object" && Object.hasOwn(at, name) ? at[name] : undefined;
            }, document);
    }
    return object(value) ? value : {};
}

const refName = (value) => (object(value) && typeof value.$ref === "string" ? value.$ref.split("/").at(-1) : null);

// The parts of a page for a document.
export function reference(service, document) {
    const info = object(document.info) ? document.info : {};
    const paths = entries(document.paths).map(([path, item]) => pathOf(service, document, path, item));
    const schemas = entries(document.components?.schemas);
    return [
        h(
            "section",
            { class: "panel api" },
            h(
                "header",
                null,
                h("span", { class: "verb http" }, "HTTP"),
                h("h3", null, String(info.title ?? service)),
                h("span", { class: "version" }, `version ${info.version ?? "?"}`),
                h("span", { class: "note" }, plural(paths.length, "path")),
            ),
            info.summary || info.description
                ? h("p", { class: "prose" }, [info.summary, info.description].filter(Boolean).join(" "))
                : null,
            paths,
        ),
        schemas.length
            ? h(
                  "section",
                  { class: "panel api" },
                  h(
                      "header",
                      null,
                      h("h3", null, "Schemas"),
                      h("span", { class: "note" }, plural(schemas.length, "schema")),
                  ),
                  schemas.map(([name, schema]) =>
                      h(
                          "details",
                          { class: "operation", id: `schema-${name}` },
                          h(
                              "summary",
                              null,
                              h("span", { class: "path mono" }, name),
                              h("span", { class: "note" }, typeOf(document, schema)),
                          ),
                          h("div", { class: "inside" }, shape(document, schema, DEPTH)),
                      ),
                  ),
              )
            : null,
    ].filter(Boolean);
}

function pathOf(service, document, path, item) {
    const shared = list(item?.parameters);
    return METHODS.filter((method) => object(item?.[method])).map((method) => {
        const operation = item[method];
        const parameters = [...shared, ...list(operation.parameters)].map((each) => resolved(document, each));
        return h(
            "details",
            { class: "operation" },
            h(
                "summary",
                null,
                h("span", { class: `verb ${method}` }, method.toUpperCase()),
                h("span", { class: "path mono" }, path),
                h("span", { class: "note" }, String(operation.summary ?? "")),
            ),
            h(
                "div",
                { class: "inside" },
                operation.description ? h("p", { class: "prose" }, String(operation.description)) : null,
                h(
                    "p",
                    { class: "local-only" },
                    h(
                        "a",
                        {
                            class: "button",
                            href: tryAt(service, method, path),
                        },
                        "Try it",
                    ),
                ),
                parameters.length ? parametersOf(document, parameters) : null,
                bodyOf(document, operation.requestBody),
                responsesOf(document, operation.responses),
            ),
        );
    });
}

function tryAt(service, method, path) {
    const query = `method=${method.toUpperCase()}&path=${encodeURIComponent(path)}`;
    return `#/try/${encodeURIComponent(service)}?${query}`;
}

function parametersOf(document, parameters) {
    const rows = parameters.map((parameter) =>
        h(
            "tr",
            null,
            h("th", { scope: "row", class: "mono" }, String(parameter.name), parameter.required ? required() : null),
            h("td", null, String(parameter.in)),
            h(
                "td",
                null,
                h("span", { class: "type" }, typeOf(document, parameter.schema)),
                limits(resolved(document, parameter.schema)),
            ),
            h(
                "td",
                { class: "prose" },
                String(parameter.description ?? resolved(document, parameter.schema).description ?? ""),
            ),
        ),
    );
    return [
        h("h4", null, "Parameters"),
        scroller(
            "Parameters",
            h(
                "table",
                { class: "grid" },
                h(
                    "thead",
                    null,
                    h(
                        "tr",
                        null,
                        ["Name", "In", "Type", "Description"].map((name) => h("th", { scope: "col" }, name)),
                    ),
                ),
                h("tbody", null, rows),
            ),
        ),
    ];
}

function bodyOf(document, given) {
    const body = resolved(document, given);
    const content = entries(body.content);
    if (content.length === 0) return null;
    return [
        h("h4", null, "Request body"),
        content.map(([type, media]) =>
            h(
                "div",
                { class: "media" },
                h("p", null, h("code", null, type), body.required ? required() : null),
                shape(document, media?.schema, DEPTH),
            ),
        ),
    ];
}

function responsesOf(document, given) {
    const responses = entries(given);
    if (responses.length === 0) return null;
    const rows = responses.map(([status, value]) => {
        const response = resolved(document, value);
        const types = entries(response.content).map(([type, media]) =>
            h(
                "div",
                null,
                h("code", null, type),
                " ",
                h("span", { class: "type" }, refName(media?.schema) ?? typeOf(document, media?.schema)),
            ),
        );
        const headers = entries(response.headers).map(([name]) => h("div", { class: "note" }, name));
        return h(
            "tr",
            null,
            h("th", { scope: "row" }, h("span", { class: `status s${status[0]}` }, status)),
            h("td", { class: "prose" }, String(response.description ?? "")),
            h("td", null, types, headers),
        );
    });
    return [
        h("h4", null, "Responses"),
        scroller(
            "Responses",
            h(
                "table",
                { class: "grid responses" },
                h(
                    "thead",
                    null,
                    h(
                        "tr",
                        null,
                        ["Status", "Description", "Content, headers"].map((name) => h("th", { scope: "col" }, name)),
                    ),
                ),
                h("tbody", null, rows),
            ),
        ),
    ];
}

const required = () => h("span", { class: "required" }, "required");

function typeOf(document, given) {
    const name = refName(given);
    const schema = resolved(document, given);
    if (name && (schema.type === "object" || schema.properties)) return name;
    const choices = [...list(schema.anyOf), ...list(schema.oneOf)];
    if (choices.length)
        return choices
            .slice(0, 6)
            .map((each) => typeOf(document, each))
            .join(" | ");
    if (schema.type === "array")
        return `array of ${refName(schema.items) ?? String(resolved(document, schema.items).type ?? "any")}`;
    const type = Array.isArray(schema.type)
        ? schema.type.join(" | ")
        : (schema.type ?? (schema.properties ? "object" : schema.enum ? "enum" : "any"));
    return schema.format ? `${type}, ${schema.format}` : String(type);
}

const LIMITS = [
    ["minimum", "≥"],
    ["maximum", "≤"],
    ["minLength", "length ≥"],
    ["maxLength", "length ≤"],
    ["minItems", "items ≥"],
    ["maxItems", "items ≤"],
    ["pattern", "pattern"],
    ["default", "default"],
];

function limits(schema) {
    const found = LIMITS.filter(([name]) => schema[name] !== undefined).map(
        ([name, label]) => `${label} ${typeof schema[name] === "string" ? schema[name] : JSON.stringify(schema[name])}`,
    );
    if (Array.isArray(schema.enum))
        found.push(
            `one of ${schema.enum
                .slice(0, 20)
                .map((each) => JSON.stringify(each))
                .join(", ")}`,
        );
    return found.length
        ? h(
              "span",
              { class: "limits" },
              found.map((each) => h("span", null, each)),
          )
        : null;
}

function shape(document, given, depth) {
    const schema = resolved(document, given);
    const items = schema.type === "array" ? resolved(document, schema.items) : null;
    const properties = entries(items?.properties ?? schema.properties);
    if (properties.length === 0)
        return h(
            "p",
            { class: "scalar" },
            h("span", { class: "type" }, typeOf(document, given)),
            limits(schema),
            schema.description ? h("span", { class: "prose" }, String(schema.description)) : null,
        );
    const needed = new Set(list((items ?? schema).required));
    return h(
        "ul",
        { class: "shape" },
        items ? h("li", { class: "note" }, "array of") : null,
        properties.map(([name, value]) => {
            const property = resolved(document, value);
            const nested = depth > 0 && (property.properties || resolved(document, property.items).properties);
            return h(
                "li",
                null,
                h(
                    "p",
                    null,
                    h("span", { class: "property mono" }, name),
                    h("span", { class: "type" }, typeOf(document, value)),
                    needed.has(name) ? required() : null,
                    limits(property),
                    property.description ? h("span", { class: "prose" }, String(property.description)) : null,
                ),
                nested ? shape(document, value, depth - 1) : null,
            );
        }),
    );
}
