// spark -- small curves of the last minutes.

import { attr, svg } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 24;

// The path of a curve; values that are not known leave gaps.
function curve(values, top, ends) {
    const step = WIDTH / Math.max(1, values.length - 1);
    const at = (value) => (HEIGHT - 2 - (value / top) * (HEIGHT - 4)).toFixed(1);
    let path = "";
    let begun = -1;
    values.forEach((value, index) => {
        const x = (index * step).toFixed(1);
        if (value === null || value === undefined) {
            if (ends && begun >= 0) path += `V${HEIGHT}H${begun}Z`;
            begun = -1;
            return;
        }
        if (begun < 0) path += ends ? `M${x} ${HEIGHT}V${at(value)}` : `M${x} ${at(value)}`;
        else path += `L${x} ${at(value)}`;
        if (begun < 0) begun = x;
    });
    if (ends && begun >= 0) path += `V${HEIGHT}H${begun}Z`;
    return path;
}

// A curve with the class name `kind`; update(values) draws it. It is decoration beside figures.
export function spark(kind) {
    const area = svg("path", { class: "area" });
    const line = svg("path", { class: "line" });
    const node = svg(
        "svg",
        {
            class: `spark ${kind}`,
            viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
            preserveAspectRatio: "none",
            "aria-hidden": "true",
        },
        area,
        line,
    );
    return {
        node,
        update(values = []) {
            node.classList.toggle("flat", !values.some((value) => value > 0));
            const top = Math.max(1e-9, ...values.filter((value) => value !== null)) * 1.05;
            attr(area, "d", curve(values, top, true));
            attr(line, "d", curve(values, top, false));
        },
    };
}
