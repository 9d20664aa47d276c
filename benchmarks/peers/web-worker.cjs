/**
 * As much of the browser's `Worker`, and of the scope inside one, as libraries made for browsers use, on threads of Node. Plain
 * JavaScript, because every thread loads it.
 */
"use strict";
const { resolveObjectURL } = require("node:buffer");
const { readFile } = require("node:fs/promises");
const { fileURLToPath } = require("node:url");
const { parentPort, Worker: ThreadWorker } = require("node:worker_threads");

/** Text of a script. Blobs are looked up at once, since their address may be revoked soon. */
function sourceOf(url) {
  if (!url.startsWith("blob:")) return readFile(fileURLToPath(url), "utf8");
  const blob = resolveObjectURL(url);
  return blob === undefined ? Promise.reject(new Error(`${url} is revoked`)) : blob.text();
}

const listOf = (transfer) => (Array.isArray(transfer) ? transfer : transfer?.transfer);

class WebWorker {
  onmessage = null;
  onerror = null;
  #thread;
  #waiting = [];
  #terminated = false;

  constructor(url, { name = "" } = {}) {
    sourceOf(String(url)).then(
      (source) => this.#start(source, name),
      (error) => this.onerror?.({ message: String(error) }),
    );
  }

  #start(source, name) {
    if (this.#terminated) return;
    const thread = new ThreadWorker(`require(${JSON.stringify(__filename)}).enterScope(${JSON.stringify(name)});\n${source}`, {
      eval: true,
    });
    thread.on("message", (data) => this.onmessage?.({ data }));
    thread.on("error", (error) => this.onerror?.({ message: error instanceof Error ? error.message : String(error) }));
    thread.unref();
    for (const [message, transfer] of this.#waiting) thread.postMessage(message, listOf(transfer));
    this.#thread = thread;
  }

  // At once where possible: the caller may block its thread right afterwards, waiting for the answer.
  postMessage(message, transfer) {
    if (this.#thread === undefined) this.#waiting.push([message, transfer]);
    else this.#thread.postMessage(message, listOf(transfer));
  }

  terminate() {
    this.#terminated = true;
    void this.#thread?.terminate();
  }
}

/** Makes a thread look like a browser's worker; what would tell it from one is hidden. */
function enterScope(name) {
  Object.assign(globalThis, {
    self: globalThis,
    name,
    Worker: WebWorker,
    WorkerGlobalScope: Object,
    location: { href: "file:///worker.js" },
    postMessage: (message, transfer) => parentPort.postMessage(message, listOf(transfer)),
  });
  parentPort.on("message", (data) => globalThis.onmessage?.({ data }));
  globalThis.process = undefined;
}

/** Gives this process the `Worker` of browsers, and `navigator.hardwareConcurrency` the number of threads to use. */
function installWebWorker(threads) {
  Object.assign(globalThis, { Worker: WebWorker });
  Object.defineProperty(navigator, "hardwareConcurrency", { value: threads, configurable: true });
}

module.exports = { enterScope, installWebWorker };
