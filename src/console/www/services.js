// services -- the choice of a service, in the filters of views.

import { serviceNames } from "./api.js";
import { h, keyed } from "./dom.js";

// The chosen one is offered also where no service of that name is known.
export function offerServices(select, chosen) {
    const names = [...new Set([...serviceNames(), chosen].filter(Boolean))].sort();
    keyed(
        select,
        [["", "All services"], ...names.map((name) => [name, name])],
        ([value]) => value,
        ([value, label]) => ({ node: h("option", { value }, label) }),
    );
}
