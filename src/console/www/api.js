// api -- requests to the console, its events, and the token of ./dev up.

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 15_000;
const SILENCE_MS = 6000; // the fleet comes once a second
const HIDDEN_MS = 30_000; // a hidden page gives its connection back: browsers have six per address

export class Refused extends Error {
    constructor(status, message) {
        super(message);
        this.status = status;
    }
}

// A path of the API, and its query without what is empty.
export function url(parts, query = {}) {
    const path = `/${parts.map(encodeURIComponent).join("/")}`;
    const said = Object.entries(query).filter(
        ([, value]) => value !== "" && value !== null && value !== undefined && value !== false,
    );
    const text = said.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&");
    return text ? `${path}?${text}` : path;
}

async function answered(answer) {
    const json = (answer.headers.get("Content-Type") ?? "").includes("json") ? await answer.json() : null;
    if (!answer.ok) throw new Refused(answer.status, json?.detail || json?.title || `status ${answer.status}`);
    return json;
}

export class Unreachable extends Error {}

async function asked(address, options) {
    let answer;
    try {
        answer = await fetch(address, options);
    } catch (error) {
        throw error.name === "AbortError" ? error : new Unreachable("The console cannot be reached.");
    }
    return answered(answer);
}

export function get(parts, query, signal) {
    return asked(url(parts, query), { signal, headers: { Accept: "application/json" } });
}

let token = "";

// Takes the token out of the address bar. It is kept in memory alone: a reload forgets it.
export function takeToken() {
    const given = /^#token=([^&]*)/.exec(location.hash);
    if (!given) return;
    try {
        token = decodeURIComponent(given[1]);
    } catch {
        token = "";
    }
    history.replaceState(null, "", `${location.pathname}#/fleet`);
}

export const hasToken = () => token !== "";

export function post(parts, body) {
    const headers = { "Content-Type": "application/json", "X-Console-Token": token };
    return asked(url(parts), { method: "POST", headers, body: JSON.stringify(body) });
}

// ---- events ----

class Live extends EventTarget {
    fleet = null;
    state = "connecting"; // live, lost, paused
    #source = null;
    #logs = null; // the filter of log lines, or null for none
    #retry_ms = FIRST_RETRY_MS;
    #retry = 0;
    #heard = 0;
    #hidden = 0;

    start() {
        this.#open();
        setInterval(() => this.#watch(), 1000);
        document.addEventListener("visibilitychange", () => this.#shown());
    }

    // Lines that match are reported as events "log" from now on; none with null.
    follow(filter) {
        const same = JSON.stringify(filter) === JSON.stringify(this.#logs);
        this.#logs = filter;
        if (!same && this.#source) this.#open();
    }

    retryNow() {
        this.#retry_ms = FIRST_RETRY_MS;
        this.#open();
    }

    on(name, listener) {
        const call = (event) => listener(event.detail);
        this.addEventListener(name, call);
        return () => this.removeEventListener(name, call);
    }

    get retryIn_ms() {
        return this.#retry ? Math.max(0, this.#retryAt - Date.now()) : 0;
    }

    #retryAt = 0;

    #say(name, detail) {
        this.dispatchEvent(new CustomEvent(name, { detail }));
    }

    #become(state) {
        if (this.state === state) return;
        this.state = state;
        this.#say("state", state);
    }

    #close() {
        this.#source?.close();
        this.#source = null;
        clearTimeout(this.#retry);
        this.#retry = 0;
    }

    #open() {
        this.#close();
        const source = new EventSource(url(["api", "events"], this.#logs ? { logs: 1, ...this.#logs } : {}));
        this.#source = source;
        this.#heard = Date.now();
        source.addEventListener("error", () => this.#failed());
        for (const name of ["fleet", "log", "timeline"])
            source.addEventListener(name, (event) => this.#received(name, event.data));
    }

    #received(name, data) {
        let value;
        try {
            value = JSON.parse(data);
        } catch {
            return;
        }
        this.#heard = Date.now();
        this.#retry_ms = FIRST_RETRY_MS;
        if (name === "fleet") this.fleet = value;
        this.#become("live");
        this.#say(name, value);
    }

    // EventSource itself gives up after a status that is not 200, and retries without a bound after others.
    #failed() {
        this.#close();
        this.#retryAt = Date.now() + this.#retry_ms;
        this.#retry = setTimeout(() => this.#open(), this.#retry_ms);
        this.#retry_ms = Math.min(LAST_RETRY_MS, this.#retry_ms * 2);
        this.#become("lost");
    }

    #watch() {
        if (this.#source && Date.now() - this.#heard > SILENCE_MS) this.#failed();
        if (this.state === "lost") this.#say("retry", this.retryIn_ms);
    }

    #shown() {
        clearTimeout(this.#hidden);
        if (document.hidden) {
            this.#hidden = setTimeout(() => {
                this.#close();
                this.#become("paused");
            }, HIDDEN_MS);
        } else if (!this.#source && !this.#retry) {
            this.#become("connecting");
            this.#open();
        }
    }
}

export const live = new Live();

// ---- colours of services ----

const COLOURS = 8;
const colours = new Map();

// The class that colours a service: the same in all views. Those known at first are coloured by name.
export function colour(service) {
    if (colours.size === 0) for (const name of serviceNames().sort()) colours.set(name, colours.size % COLOURS);
    if (!colours.has(service)) colours.set(service, colours.size % COLOURS);
    return `c${colours.get(service)}`;
}

export function serviceNames() {
    return (live.fleet?.services ?? []).map((service) => service.name);
}

// Calls poll(signal) now and every ms until the returned function is called; not while the page is hidden. A console
// that cannot be reached is no error of a view: the state of the connection shows it.
export function every(ms, poll) {
    const stopped = new AbortController();
    let busy = false;
    const tick = async () => {
        if (busy || document.hidden) return;
        busy = true;
        try {
            await poll(stopped.signal);
        } catch (error) {
            if (error.name !== "AbortError" && !(error instanceof Unreachable)) throw error;
        } finally {
            busy = false;
        }
    };
    tick();
    const timer = setInterval(tick, ms);
    return () => {
        clearInterval(timer);
        stopped.abort();
    };
}
