import { resolveObjectURL } from "node:buffer";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { Worker as ThreadWorker } from "node:worker_threads";

/** What Node's threads lack of a browser's worker scope. */
const scope = `
  const { parentPort } = require("node:worker_threads");
  globalThis.self = globalThis;
  globalThis.postMessage = (message, transfer) => parentPort.postMessage(message, Array.isArray(transfer) ? transfer : transfer?.transfer);
  globalThis.addEventListener ??= (type, listener) => { if (type === "message") parentPort.on("message", (data) => listener({ data })); };
  parentPort.on("message", (data) => globalThis.onmessage?.({ data }));
`;

async function sourceOf(url: string): Promise<string> {
  if (url.startsWith("blob:")) {
    const blob = resolveObjectURL(url);
    if (blob === undefined) throw new Error(`${url} is revoked`);
    return await blob.text();
  }
  return await readFile(fileURLToPath(url), "utf8");
}

/** As much of the browser's `Worker` as libraries made for browsers use, on a thread of Node. */
class WebWorker {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: ((event: { message: string }) => void) | null = null;
  readonly #thread: Promise<ThreadWorker>;

  constructor(url: string | URL) {
    this.#thread = sourceOf(String(url)).then((source) => {
      const thread = new ThreadWorker(`${scope}\n${source}`, { eval: true });
      thread.on("message", (data: unknown) => this.onmessage?.({ data }));
      thread.on("error", (error: unknown) => this.onerror?.({ message: error instanceof Error ? error.message : String(error) }));
      thread.unref();
      return thread;
    });
    this.#thread.catch((error: unknown) => this.onerror?.({ message: String(error) }));
  }

  postMessage(message: unknown, transfer: readonly ArrayBuffer[] = []): void {
    void this.#thread.then((thread) => thread.postMessage(message, transfer));
  }

  terminate(): void {
    void this.#thread.then((thread) => thread.terminate());
  }
}

/** Gives this process the global `Worker` of browsers, and `navigator.hardwareConcurrency` the number of threads to use. */
export function installWebWorker(threads: number): void {
  Object.assign(globalThis, { Worker: WebWorker });
  Object.defineProperty(navigator, "hardwareConcurrency", { value: threads, configurable: true });
}
