// Formats numbers, times and the registry's codes for people.

const NUMBERS = new Intl.NumberFormat("en");

const ORDER = new Intl.Collator("en", { numeric: true });

/** Compare texts or numbers, as people do: `web-2` comes before `web-10`. */
export const byNumber = (a, b) => (typeof a === "number" ? a - b : ORDER.compare(a, b));

export const count = (number) => NUMBERS.format(number);

export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;

/** Seconds as a rough duration: `4 s`, `3 min`, `2 h 5 min`, `6 days`. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

export function ago(text, now = Date.now()) {
  if (!text) return "never";
  const seconds = (now - Date.parse(text)) / 1000;
  return seconds < 1 ? "just now" : `${duration(seconds)} ago`;
}

export function until(text, now = Date.now()) {
  if (!text) return "not scheduled";
  const seconds = (Date.parse(text) - now) / 1000;
  return seconds < 1 ? "now" : `in ${duration(seconds)}`;
}

const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export const dateTime = (text) => (text ? MOMENT.format(new Date(text)) : "");

export const timeOfDay = (text) => CLOCK.format(new Date(text));

export const milliseconds = (value) =>
  value === null || value === undefined ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

/** Calls per second: `0.25/s`, `12/s`, `1,200/s`. */
export const perSecond = (rate) => {
  if (rate > 0 && rate < 0.01) return "under 0.01/s";
  const digits = rate >= 10 ? 0 : rate >= 1 ? 1 : 2;
  return `${count(Number(rate.toFixed(digits)))}/s`;
};

export const percent = (share) => {
  const value = share * 100;
  // 99.96% must not read as 100%.
  if (value > 99.9 && value < 100) return "99.9%";
  return `${Number.isInteger(value) ? value : value.toFixed(1)}%`;
};

/** Metadata values: text bare, anything else as JSON. */
export const metadataValue = (value) => (typeof value === "string" ? value : JSON.stringify(value));

const OUTCOMES = {
  mismatch: "Not the module that is registered",
  ok: "OK",
  warning: "Answered with a warning",
  refused: "Nothing is listening on this port",
  unreachable: "Host unreachable",
  timeout: "Timed out",
  closed: "Connection closed too early",
  dns: "Host name not found",
  tls: "TLS error",
  status: "Unhealthy response",
  protocol: "Invalid response",
  policy: "Blocked by the address policy",
  local: "Problem on the registry's side",
};

export const outcomeLabel = (kind) => OUTCOMES[kind] ?? kind;

const SOURCES = {
  check: "Health checks are failing",
  lease: "Heartbeat overdue",
  report: "The service reports a problem",
};

export const faultLabel = (kind) => SOURCES[kind] ?? kind;

const WARNINGS = {
  check: "A health check warns",
  report: "The service reports a warning",
};

export const warningLabel = (kind) => WARNINGS[kind] ?? kind;

const URGENCY = { unhealthy: 0, warning: 1, draining: 2 };

/** Where a status comes in a list: what needs attention is first. */
export const urgency = (status) => URGENCY[status] ?? 3;
