import type { ClientEvent, ClientTraffic } from "@frugal/fourier-compress";
import { element, setText, textElement } from "./element.ts";

const MOST_LINES = 60;

/** Bytes for people, in powers of ten. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** A ratio for people. */
export function formatRatio(ratio: number): string {
  return `${ratio.toFixed(ratio < 10 ? 2 : 1)} ×`;
}

/** A relative error for people. */
export function formatError(error: number | undefined): string {
  if (error === undefined) return "–";
  return error === 0 ? "0, exact" : error.toFixed(error < 0.1 ? 4 : 3);
}

/** Shows what crossed the network. */
export function showTraffic(traffic: ClientTraffic, tokensPerSecond: number): void {
  const { float16Bytes, activationBytes, messages } = traffic;
  const float32Bytes = 2 * float16Bytes;
  for (const [name, bytes] of [["float32", float32Bytes], ["float16", float16Bytes], ["sent", activationBytes]] as const) {
    element(`bar-${name}`, HTMLElement).style.width = `${Math.min(100, (100 * bytes) / Math.max(1, float32Bytes)).toFixed(1)}%`;
    setText(`bytes-${name}`, formatBytes(bytes));
  }
  setText("figure-messages", `${messages}, ${traffic.tokens}`);
  setText("figure-ratio16", formatRatio(traffic.byteRatioFloat16));
  setText("figure-ratio32", formatRatio(traffic.byteRatioFloat32));
  setText("figure-elements", formatRatio(traffic.elementRatio));
  setText("figure-error", formatError(traffic.relativeError));
  setText("figure-speed", tokensPerSecond === 0 ? "–" : `${tokensPerSecond.toFixed(0)} tokens/s`);
  setText("figure-trip", `${traffic.roundTrip.median.toFixed(1)} ms`);
  setText("figure-encode", `${(traffic.encodeMilliseconds / Math.max(1, messages)).toFixed(2)} ms`);
  setText("figure-connections", `${traffic.connections}, ${traffic.resumes}`);
}

/** What an event says, and the state of the wire after it; undefined where it stays. */
export function describeEvent(event: ClientEvent): { readonly text: string; readonly state?: "open" | "broken" } {
  switch (event.kind) {
    case "connected":
      return { text: `connected to ${event.peer}`, state: "open" };
    case "disconnected":
      return { text: `disconnected: ${event.reason}`, state: "broken" };
    case "reconnecting":
      return { text: `attempt ${event.attempt} in ${event.delayMilliseconds.toFixed(0)} ms`, state: "broken" };
    case "gave-up":
      return { text: `gave up: ${event.reason}`, state: "broken" };
    case "opened":
      return {
        text: `session ${event.session.slice(0, 8)} opened` +
          (event.reusedTokens > 0 ? `, ${event.reusedTokens} tokens known to the server` : ""),
      };
    case "resumed":
      return { text: `session ${event.session.slice(0, 8)} resumed, ${event.resent} message${event.resent === 1 ? "" : "s"} sent again` };
    case "rebuilt":
      return { text: `session rebuilt from ${event.messages} messages` };
  }
}

/** Shows the state of the connection. */
export function showWire(state: "open" | "broken" | "closed", detail: string): void {
  element("wire", HTMLElement).dataset["state"] = state;
  setText("wire-state", state === "open" ? "connected" : state === "broken" ? "connection cut" : "not connected");
  setText("wire-detail", detail);
}

/** Adds a line to the log, the newest first. */
export function logEvent(event: ClientEvent): void {
  const log = element("log", HTMLOListElement);
  log.querySelector(".placeholder")?.remove();
  const line = textElement("li", "", event.kind);
  line.append(textElement("time", new Date().toTimeString().slice(0, 8)), textElement("span", describeEvent(event).text));
  log.prepend(line);
  while (log.children.length > MOST_LINES) log.lastElementChild!.remove();
}
