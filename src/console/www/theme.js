// theme -- the colours that were chosen here, before the first paint. A classic script: modules run after it.
"use strict";
(() => {
    try {
        const chosen = localStorage.getItem("theme");
        if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
    } catch {
        // No storage: the system's colours.
    }
})();
