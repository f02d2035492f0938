import { html } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";

/** A piece of a page, escaped. */
export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

const whole = new Intl.NumberFormat("en");
const day = new Intl.DateTimeFormat("en", {
  day: "numeric",
  month: "short",
  year: "numeric",
  timeZone: "UTC",
});
const minute = new Intl.DateTimeFormat("en", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
  timeZone: "UTC",
});

export function count(value: number): string {
  return whole.format(value);
}

/** "1 dot", "42,049 dots". */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${whole.format(value)} ${value === 1 ? one : many}`;
}

/** A day, and the time of day where there is one. All times are UTC. */
export function moment(date: Date): Html {
  const iso = date.toISOString();
  const text = iso.endsWith("T00:00:00.000Z") ? day.format(date) : `${minute.format(date)} UTC`;
  return html`<time datetime="${iso}">${text}</time>`;
}

/** How long ago, roughly: what matters about a recent sheet. */
export function ago(date: Date, now = Date.now()): Html {
  const minutes = Math.floor((now - date.getTime()) / 60_000);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  const text =
    minutes < 1
      ? "just now"
      : minutes < 60
        ? `${counted(minutes, "minute")} ago`
        : hours < 24
          ? `${counted(hours, "hour")} ago`
          : days < 30
            ? `${counted(days, "day")} ago`
            : day.format(date);
  return html`<time datetime="${date.toISOString()}" title="${date.toISOString()}">${text}</time>`;
}

/** A coordinate with five digits, some metre: the sixth says nothing to people. */
export function degrees(value: string): string {
  return Number(value).toFixed(5).replace("-", "−");
}

/** "34.05928° N, 118.27398° W". */
export function position(latitude: string, longitude: string): string {
  const [lat, lon] = [Number(latitude), Number(longitude)];
  return `${Math.abs(lat).toFixed(5)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(lon).toFixed(5)}° ${lon < 0 ? "W" : "E"}`;
}

/** A detail as text; what is inside it, if anything, as JSON. */
export function detail(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "object") {
    return JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? String(inner) : inner));
  }
  return String(value);
}

/** The address in a detail, if it is one that a link may lead to. */
export function webAddress(value: unknown): string | undefined {
  if (typeof value !== "string" || !/^https?:\/\/\S+$/.test(value)) return undefined;
  return URL.canParse(value) ? value : undefined;
}

export function megabytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1024 * 1024 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
