import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { z } from "zod";
import { SettingsError } from "../errors.ts";
import type { Job } from "../job/job.ts";
import type { AssignmentSettings } from "../grid/assignment.ts";
import type { RunEvent } from "../membership/run-event.ts";
import { Access } from "./access.ts";
import { RunMetrics } from "./metrics.ts";
import { pageHtml } from "./page.ts";
import { pageScript } from "./page-script.ts";
import { pageStyle } from "./page-style.ts";
import { RunPicture } from "./run-picture.ts";

/** Faults that the page has buttons for. */
export type DashboardFault = "kill" | "stop" | "cut" | "slow" | "corrupt";

/** All of them. */
export const dashboardFaults: readonly DashboardFault[] = ["kill", "stop", "cut", "slow", "corrupt"];

/** How a dashboard is started. */
export interface DashboardOptions {
  /** 0: any free port; `url` says which. */
  readonly port: number;
  /** Default 127.0.0.1. Another than this machine's own needs a token. */
  readonly host?: string | undefined;
  /** At least 16 characters. With it, everything but /healthz asks for it, on this machine too. */
  readonly token?: string | undefined;
  /** The run: its name, its steps, and what its assignments depend on. */
  readonly job: AssignmentSettings & Pick<Job, "name" | "steps">;
  /** Buttons to show; default all, none without `inject`. */
  readonly faults?: readonly DashboardFault[] | undefined;
  /**
   * Brings a fault about in a live worker. Whoever does it publishes the `fault` event too, so that the log has it. What it throws is
   * shown. Absent: the page only shows.
   */
  readonly inject?: ((slot: string, fault: DashboardFault) => Promise<void>) | undefined;
}

/** A running dashboard. */
export interface Dashboard {
  /** Where the page is; with the token in it, where there is one. */
  readonly url: string;
  readonly metrics: RunMetrics;
  /** Shows an event. Cheap: browsers are told at most five times a second. */
  publish(event: RunEvent): void;
  close(): Promise<void>;
}

const MAXIMUM_BODY_BYTES = 1024;
const MAXIMUM_STREAMS = 32;
const MAXIMUM_CONNECTIONS = 128;
/** A browser that has not read this much is let go; it connects again and gets the whole picture. */
const MAXIMUM_UNREAD_BYTES = 1 << 22;
const BROADCAST_INTERVAL = 200;
const KEEP_ALIVE_INTERVAL = 15_000;

const securityHeaders: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; " +
    "frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};

const faultRequestSchema = z.strictObject({
  slot: z.string().regex(/^p\d{1,4}s\d{1,4}$/), fault: z.enum(dashboardFaults as [DashboardFault, ...DashboardFault[]]),
});

/** An answer that ends a request early. */
class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

function respond(
  response: ServerResponse, status: number, type: string, body: string, headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { ...securityHeaders, "content-type": `${type}; charset=utf-8`, ...headers }).end(body);
}

async function readBody(request: IncomingMessage): Promise<string> {
  const tooLong = (): Refusal => new Refusal(413, `more than ${MAXIMUM_BODY_BYTES} bytes`);
  if (Number(request.headers["content-length"] ?? 0) > MAXIMUM_BODY_BYTES) throw tooLong();
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAXIMUM_BODY_BYTES) throw tooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

class DashboardServer implements Dashboard {
  readonly metrics: RunMetrics;
  readonly #options: DashboardOptions;
  readonly #access: Access;
  readonly #picture: RunPicture;
  readonly #faults: readonly DashboardFault[];
  readonly #streams = new Set<ServerResponse>();
  readonly #server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    void this.#answer(request, response);
  });
  readonly #keepAlive: NodeJS.Timeout;
  #timer: NodeJS.Timeout | undefined;
  #port = 0;

  constructor(options: DashboardOptions) {
    this.#options = options;
    this.#access = new Access(options.host ?? "127.0.0.1", options.token);
    const { name, steps } = options.job;
    this.#picture = new RunPicture({ name, steps, settings: options.job });
    this.metrics = new RunMetrics(options.job);
    this.#faults = options.inject === undefined ? [] : (options.faults ?? dashboardFaults);
    this.#server.maxConnections = MAXIMUM_CONNECTIONS;
    this.#keepAlive = setInterval(() => this.#send(": still here\n\n"), KEEP_ALIVE_INTERVAL);
    this.#keepAlive.unref();
  }

  async listen(): Promise<void> {
    const { port, host = "127.0.0.1" } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    const { host = "127.0.0.1", token } = this.#options;
    const name = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
    return `http://${name}:${this.#port}/${token === undefined ? "" : `?token=${encodeURIComponent(token)}`}`;
  }

  publish(event: RunEvent): void {
    this.metrics.observe(event);
    this.#picture.apply(event);
    this.#timer ??= setTimeout(() => this.#broadcast(), BROADCAST_INTERVAL).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#keepAlive);
    if (this.#timer !== undefined) {
      // The last picture is the one that stays on the screen.
      clearTimeout(this.#timer);
      this.#broadcast();
    }
    for (const stream of this.#streams) stream.end("event: closed\ndata: {}\n\n");
    this.#streams.clear();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeIdleConnections();
      // Whoever does not take the rest in does not hold us up.
      setTimeout(() => this.#server.closeAllConnections(), 250).unref();
    });
  }

  #broadcast(): void {
    this.#timer = undefined;
    const message = JSON.stringify({ ...this.#picture.picture(), curve: this.#picture.takeCurveUpdate() });
    this.#send(`event: picture\ndata: ${message}\n\n`);
  }

  #send(text: string): void {
    for (const stream of this.#streams) {
      if (stream.writableLength > MAXIMUM_UNREAD_BYTES) stream.destroy();
      else stream.write(text);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#route(request, response);
    } catch (error) {
      if (response.headersSent) return void response.destroy();
      const status = error instanceof Refusal ? error.status : 500;
      const message = error instanceof Error ? error.message : String(error);
      // What is left of a body that was refused is not read.
      respond(response, status, "application/json", JSON.stringify({ error: message }), status === 413 ? { connection: "close" } : {});
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!this.#access.allowsHost(request)) throw new Refusal(421, "this Host is not served here: use localhost or 127.0.0.1");
    const target = request.url ?? "/";
    if (target.length > 2048 || !target.startsWith("/")) throw new Refusal(400, "this address is none of ours");
    const url = new URL(target, "http://dashboard");
    const path = url.pathname;
    const expected = path === "/api/fault" ? "POST" : "GET";
    if (request.method !== expected) {
      response.setHeader("allow", expected);
      throw new Refusal(405, `${path} takes ${expected}`);
    }
    if (path === "/healthz") return respond(response, 200, "text/plain", "ok\n");
    const given = path === "/" ? url.searchParams.get("token") : null;
    if (given !== null && this.#access.acceptsToken(given)) {
      // The token leaves the address bar, the history and what is copied from them.
      return respond(response, 303, "text/plain", "", { location: "/", "set-cookie": this.#access.cookie(this.#port) });
    }
    const identity = this.#access.identify(request, this.#port);
    if (identity === undefined) {
      response.setHeader("www-authenticate", "Bearer");
      throw new Refusal(401, "give the dashboard's token: Authorization: Bearer …, or open /?token=…");
    }
    switch (path) {
      case "/":
        return respond(response, 200, "text/html", pageHtml({ title: this.#options.job.name, faults: this.#faults }));
      case "/page.js":
        return respond(response, 200, "text/javascript", pageScript);
      case "/page.css":
        return respond(response, 200, "text/css", pageStyle);
      case "/metrics":
        return respond(response, 200, "text/plain; version=0.0.4", await this.metrics.render());
      case "/events":
        return this.#stream(response);
      case "/api/fault":
        return this.#inject(request, response, identity);
      default:
        throw new Refusal(404, `${path} is not here`);
    }
  }

  #stream(response: ServerResponse): void {
    if (this.#streams.size >= MAXIMUM_STREAMS) throw new Refusal(503, `${MAXIMUM_STREAMS} pages are open already`);
    // Whatever is waiting goes to the others first: the newcomer gets all of it.
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer);
      this.#broadcast();
    }
    response.writeHead(200, { ...securityHeaders, "content-type": "text/event-stream; charset=utf-8" });
    this.#streams.add(response);
    response.on("close", () => this.#streams.delete(response));
    const message = JSON.stringify({ ...this.#picture.picture(), curve: { all: this.#picture.curve() } });
    response.write(`retry: 1000\nevent: picture\ndata: ${message}\n\n`);
  }

  async #inject(request: IncomingMessage, response: ServerResponse, identity: "token" | "cookie" | "open"): Promise<void> {
    if (!this.#access.allowsChange(request, identity)) {
      throw new Refusal(403, "only the dashboard's own page, or a bearer of its token, may do this");
    }
    if (!/^application\/json\s*(;|$)/i.test(request.headers["content-type"] ?? "")) throw new Refusal(415, "give application/json");
    const { inject } = this.#options;
    if (inject === undefined) throw new Refusal(403, "this run takes no faults");
    let body: unknown;
    try {
      body = JSON.parse(await readBody(request));
    } catch (error) {
      throw error instanceof Refusal ? error : new Refusal(400, `no JSON: ${(error as Error).message}`);
    }
    const parsed = faultRequestSchema.safeParse(body);
    if (!parsed.success) throw new Refusal(400, `give { "slot": "p0s1", "fault": "${this.#faults.join('" | "')}" }`);
    const { slot, fault } = parsed.data;
    if (!this.#faults.includes(fault)) throw new Refusal(403, `this run takes no "${fault}"`);
    const cell = this.#picture.cells.find((one) => one.slot === slot);
    if (cell === undefined) throw new Refusal(404, `${slot} is not in the grid, or the grid has not formed yet`);
    if (cell.state === "failed") throw new Refusal(409, `nobody is at ${slot}`);
    try {
      await inject(slot, fault);
    } catch (error) {
      throw new Refusal(502, `${fault} ${slot}: ${error instanceof Error ? error.message : String(error)}`);
    }
    respond(response, 202, "application/json", JSON.stringify({ slot, fault }));
  }
}

/**
 * Serves a run's live page, its events and its Prometheus metrics: GET / · /events (server-sent) · /metrics · /healthz, POST /api/fault.
 * @throws SettingsError for a host that other machines reach without a token, the system's error for a port that is taken
 */
export async function startDashboard(options: DashboardOptions): Promise<Dashboard> {
  if (!Number.isInteger(options.port) || options.port < 0 || options.port > 65_535) {
    throw new SettingsError(`dashboard: port ${options.port}; use an integer from 0 to 65535`);
  }
  const server = new DashboardServer(options);
  await server.listen();
  return server;
}
