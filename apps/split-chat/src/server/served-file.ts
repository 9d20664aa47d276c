import { createReadStream } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";

/** Something that the app serves: bytes in memory, or the beginning of a file. */
export interface ServedFile {
  readonly contentType: string;
  readonly byteLength: number;
  /** Strong validator: the same tag, the same bytes. */
  readonly tag: string;
  readonly content: Uint8Array | { readonly path: string };
}

/** Bytes `first` to `last`, inclusive. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/**
 * The range of a Range header: undefined for a header that asks for no single range of bytes (which HTTP lets a server ignore),
 * "unsatisfiable" for one that begins behind the end.
 */
export function parseRange(header: string | undefined, byteLength: number): ByteRange | "unsatisfiable" | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? "");
  if (match === null) return undefined;
  const [, first = "", last = ""] = match;
  if (first === "") {
    if (last === "") return undefined;
    const count = Math.min(Number(last), byteLength);
    return count === 0 ? "unsatisfiable" : { first: byteLength - count, last: byteLength - 1 };
  }
  if (last !== "" && Number(last) < Number(first)) return undefined;
  if (Number(first) >= byteLength) return "unsatisfiable";
  return { first: Number(first), last: last === "" ? byteLength - 1 : Math.min(Number(last), byteLength - 1) };
}

/**
 * With these a page may share memory between threads, no other page may embed it, and no script runs but the app's own. Not in the list:
 * `worker-src blob:` and `wasm-unsafe-eval` are what the kernels and their threads need.
 */
const SECURITY_HEADERS = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
  "content-security-policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self'; img-src 'self' data:; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
} as const;

/** Answers a GET or HEAD request with a file, or the range of it that was asked for. */
export async function sendFile(request: IncomingMessage, response: ServerResponse, file: ServedFile): Promise<void> {
  const { byteLength, contentType, content, tag } = file;
  const headers = {
    ...SECURITY_HEADERS, "content-type": contentType, "accept-ranges": "bytes", etag: `"${tag}"`, "cache-control": "no-cache",
  };
  if (request.headers["if-none-match"] === `"${tag}"` && request.headers.range === undefined) {
    response.writeHead(304, headers).end();
    return;
  }
  const range = parseRange(request.headers.range, byteLength);
  if (range === "unsatisfiable") {
    response.writeHead(416, { ...headers, "content-range": `bytes */${byteLength}`, "content-length": 0 }).end();
    return;
  }
  const { first, last } = range ?? { first: 0, last: byteLength - 1 };
  response.writeHead(range === undefined ? 200 : 206, {
    ...headers, "content-length": last - first + 1,
    ...(range === undefined ? {} : { "content-range": `bytes ${first}-${last}/${byteLength}` }),
  });
  if (request.method === "HEAD") response.end();
  else if (content instanceof Uint8Array) response.end(content.subarray(first, last + 1));
  // A page that is closed meanwhile ends the pipeline; nobody is left to tell.
  else await pipeline(createReadStream(content.path, { start: first, end: last }), response).catch(() => response.destroy());
}

/** Answers with a line of text. */
export function sendText(response: ServerResponse, status: number, text: string, headers: { readonly [name: string]: string } = {}): void {
  response.writeHead(status, { ...SECURITY_HEADERS, "content-type": "text/plain; charset=utf-8", ...headers }).end(`${text}\n`);
}
