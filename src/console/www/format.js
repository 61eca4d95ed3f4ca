// format -- numbers, times and sizes, as they are shown.

export const NONE = "–";

const known = (value) => typeof value === "number" && Number.isFinite(value);

// A rate or count: three significant digits at most, no exponent.
export function number(value) {
    if (!known(value)) return NONE;
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size < 0.05) return "<0.1";
    if (size < 10) return String(Math.round(value * 10) / 10);
    if (size < 10_000) return Math.round(value).toLocaleString("en");
    if (size < 1e6) return `${(value / 1e3).toFixed(size < 1e5 ? 1 : 0)}k`;
    return `${(value / 1e6).toFixed(1)}M`;
}

export function count(value) {
    return known(value) ? Math.round(value).toLocaleString("en") : NONE;
}

// A duration of ms, with its unit.
export function duration(ms) {
    if (!known(ms)) return NONE;
    if (ms < 0.001) return "0 µs";
    if (ms < 1) return `${Math.round(ms * 1000)} µs`;
    if (ms < 10) return `${ms.toFixed(2)} ms`;
    if (ms < 100) return `${ms.toFixed(1)} ms`;
    if (ms < 10_000) return `${Math.round(ms).toLocaleString("en")} ms`;
    return `${(ms / 1000).toFixed(1)} s`;
}

// The same in ms without a unit, for columns.
export function millis(ms) {
    if (!known(ms)) return NONE;
    return ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : Math.round(ms).toLocaleString("en");
}

const pad = (value, width = 2) => String(value).padStart(width, "0");

// The time of day here, with ms.
export function clock(time_ms, withMs = false) {
    if (!known(time_ms)) return NONE;
    const time = new Date(time_ms);
    const day = `${pad(time.getHours())}:${pad(time.getMinutes())}:${pad(time.getSeconds())}`;
    return withMs ? `${day}.${pad(time.getMilliseconds(), 3)}` : day;
}

export function isoTime(time_ms) {
    return known(time_ms) ? new Date(time_ms).toISOString() : "";
}

// How long something lasts, in its two largest units.
export function age(ms) {
    if (!known(ms)) return NONE;
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return `${s}s`;
    if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
    if (s < 86_400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
    return `${Math.floor(s / 86_400)}d ${Math.floor((s % 86_400) / 3600)}h`;
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value) {
    if (!known(value)) return NONE;
    let at = 0;
    while (value >= 1024 && at < SIZES.length - 1) {
        value /= 1024;
        at += 1;
    }
    return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${SIZES[at]}`;
}

export function percent(part) {
    return known(part) ? `${Math.round(part * 100)}%` : NONE;
}

export function plural(many, one, more = `${one}s`) {
    return `${count(many)} ${many === 1 ? one : more}`;
}

// The end of an instance's name, which tells it from the others of its service.
export function instanceName(service, instance) {
    return instance.startsWith(`${service}-`) ? instance.slice(service.length + 1) : instance;
}
