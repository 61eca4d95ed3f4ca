// dom -- makes and updates elements. Values from the server become text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else attr(element, name, value);
    }
    element.append(
        ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
    );
    return element;
}

// An element of HTML. An attribute that is null or false is left out; "onclick" and the like are listeners.
export function h(tag, attributes, ...children) {
    return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Sets an attribute if it differs.
export function attr(element, name, value) {
    if (value === null || value === undefined || value === false) {
        if (element.hasAttribute(name)) element.removeAttribute(name);
        return;
    }
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

// Sets the text if it differs.
export function say(element, value) {
    const text = String(value);
    if (element.textContent !== text) element.textContent = text;
}

// A custom property or other style, through the CSSOM: the policy of the page allows no style attributes.
export function style(element, name, value) {
    if (element.style.getPropertyValue(name) !== String(value)) element.style.setProperty(name, value);
}

const kept = new WeakMap(); // parent -> key -> { node, update }

// Makes parent's children those of items, in order. make(item) returns { node, update(item) }; a child whose key stays
// is updated and keeps its focus and scroll position. Of items with the same key the first counts.
export function keyed(parent, items, key, make) {
    const before = kept.get(parent) ?? new Map();
    const after = new Map();
    for (const item of items) {
        const name = key(item);
        if (after.has(name)) continue;
        const row = before.get(name) ?? make(item);
        row.update?.(item);
        after.set(name, row);
    }
    for (const [name, row] of before) if (!after.has(name)) row.node.remove();
    let at = parent.firstChild;
    for (const { node } of after.values()) {
        if (node === at) at = at.nextSibling;
        else parent.insertBefore(node, at);
    }
    kept.set(parent, after);
    return after;
}

export function clear(element) {
    kept.delete(element);
    element.replaceChildren();
}

const PATHS = {
    fleet: ["M2.5 3.5h4v4h-4z", "M9.5 8.5h4v4h-4z", "M6.5 5.5h3a2 2 0 0 1 2 2v1"],
    traces: ["M2.5 3.5h7", "M5 8h6.5", "M8 12.5h5.5"],
    logs: ["M2.5 3.5h11", "M2.5 6.5h8", "M2.5 9.5h11", "M2.5 12.5h6"],
    timeline: ["M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2", "M8 5v3.2l2.2 1.5"],
    stores: [
        "M2.8 4.2c0-1.1 2.3-2 5.2-2s5.2.9 5.2 2-2.3 2-5.2 2-5.2-.9-5.2-2",
        "M2.8 4.2v7.6c0 1.1 2.3 2 5.2 2s5.2-.9 5.2-2V4.2",
        "M2.8 8c0 1.1 2.3 2 5.2 2s5.2-.9 5.2-2",
    ],
    interfaces: ["M5.5 3 2 8l3.5 5", "M10.5 3 14 8l-3.5 5"],
    try: ["M4.5 2.8v10.4L13 8z"],
    more: ["M3 8h.01", "M8 8h.01", "M13 8h.01"],
    light: [
        "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6",
        "M8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9",
    ],
    dark: ["M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8"],
    system: ["M2.5 3.5h11v7h-11z", "M6 13.5h4"],
    copy: ["M5.5 5.5h8v8h-8z", "M10.5 5.5v-3h-8v8h3"],
    done: ["M3 8.5 6.5 12 13 4.5"],
    pause: ["M5.5 3.5v9", "M10.5 3.5v9"],
    help: ["M5.8 6a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.6", "M8 12.4h.01"],
    open: ["M6 3.5 10.5 8 6 12.5"],
    error: ["M8 2.2 14.2 13H1.8z", "M8 6.4v3.2", "M8 11.3h.01"],
};

// A picture of 16 x 16 that says nothing by itself: a text beside it, or its button's label, does.
export function icon(name) {
    const drawn = PATHS[name].map((d) => svg("path", { d }));
    return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, drawn);
}

const STATES = {
    ready: () => [svg("circle", { cx: 6, cy: 6, r: 4.5, class: "solid" })],
    starting: () => [
        svg("circle", { cx: 6, cy: 6, r: 4 }),
        svg("path", { d: "M6 6V2a4 4 0 0 1 4 4z", class: "solid" }),
    ],
    draining: () => [svg("circle", { cx: 6, cy: 6, r: 4 }), svg("path", { d: "M2 6a4 4 0 0 0 8 0z", class: "solid" })],
    gone: () => [svg("path", { d: "M2.8 2.8l6.4 6.4M9.2 2.8 2.8 9.2" })],
};

// A replica's state as a shape: it is told apart without its colour, too.
export function stateMark(state) {
    return svg(
        "svg",
        { class: `mark ${state in STATES ? state : "gone"}`, viewBox: "0 0 12 12", "aria-hidden": "true" },
        (STATES[state] ?? STATES.gone)(),
    );
}

// A button that copies a text and says so.
export function copyButton(text, label) {
    const word = h("span", { "aria-live": "polite" }, "Copy");
    const button = h(
        "button",
        { class: "copy", type: "button", "aria-label": label, title: label, onclick: copied },
        icon("copy"),
        word,
    );
    async function copied() {
        try {
            await navigator.clipboard.writeText(text);
            say(word, "Copied");
        } catch {
            say(word, "Not allowed");
        }
        setTimeout(() => say(word, "Copy"), 1500);
    }
    return button;
}

// What stands where there is nothing to show, and what to do about it.
export function empty(title, ...advice) {
    return h(
        "div",
        { class: "empty" },
        h("p", { class: "what" }, title),
        advice.map((line) => h("p", null, line)),
    );
}

// What may be wider than its place. Where it is, it scrolls by keyboard, too.
export function scroller(label, ...children) {
    const node = h("div", { class: "scroll" }, children);
    new ResizeObserver(() => {
        const wide = node.scrollWidth > node.clientWidth;
        attr(node, "tabindex", wide ? "0" : null);
        attr(node, "role", wide ? "region" : null);
        attr(node, "aria-label", wide ? label : null);
    }).observe(node);
    return node;
}

export function field(label, control, kind = "") {
    return h("label", { class: `field ${kind}` }, h("span", null, label), control);
}

export function select(options, value, onchange) {
    return h(
        "select",
        { onchange: (event) => onchange(event.target.value) },
        options.map(([id, label]) => h("option", { value: id, selected: id === value }, label)),
    );
}

// A span's name. Of an rpc, package.Service/Method, the method is never cut off; a brief one is the method alone.
export function spanName(name, brief = false) {
    const slash = name.lastIndexOf("/");
    if (slash < 1 || name.includes(" ")) return h("span", { class: "name" }, name);
    if (brief) return h("span", { class: "name" }, name.slice(slash + 1));
    return h(
        "span",
        { class: "name rpc" },
        h("span", null, name.slice(0, slash + 1)),
        h("span", null, name.slice(slash + 1)),
    );
}

export function heading(title, ...beside) {
    return h("div", { class: "top" }, h("h1", null, title), beside);
}
