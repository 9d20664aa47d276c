import { setTimeout as wait } from "node:timers/promises";
import { codecNames } from "../codecs/registry.ts";
import { SettingsError } from "../errors.ts";
import type { Connection } from "../transport/connection.ts";
import { controlFrame, type ControlMessages } from "../wire/control-messages.ts";
import { encodeFrame } from "../wire/frame.ts";
import { createAuthenticator } from "./authentication.ts";
import { ConnectionHandler, type ConnectionServices } from "./connection-handler.ts";
import { ServerMetrics } from "./metrics.ts";
import { PrefixStore } from "./prefix-store.ts";
import { ClientRateLimit } from "./rate-limit.ts";
import { errorText } from "./refusal.ts";
import { Scheduler } from "./scheduler.ts";
import { SessionOpener } from "./session-opening.ts";
import { SessionRegistry } from "./session-registry.ts";
import type { ServerLimits, ServerStatistics, SplitServer, SplitServerOptions } from "./split-server-options.ts";

/** Positions are u32 on the wire, and a welcome has to be finite where a model's are not. */
const MOST_POSITIONS = 1 << 24;
/** Tables that a `welcome` can name. */
const MOST_TABLES = 256;
/** Milliseconds between looks at what has expired, at the most. */
const SWEEP = 1000;
/** Milliseconds after which a client that is gone starts with a full rate limit again. */
const RATE_LIMIT_MEMORY = 20_000;

const DEFAULT_LIMITS: Omit<ServerLimits, "tokensPerSession" | "cacheBytesPerClient"> = {
  connections: 1024, sessions: 256, sessionsPerClient: 64, tokensPerFrame: 512, cacheBytes: 2 ** 30, prefixBytes: 2 ** 28,
  expirySeconds: 300, framesPerSecond: 2000, bytesPerSecond: 2 ** 26, tokensPerStep: 1024, handshakeSeconds: 10,
};

/** A client's rate limit, with when it was last asked for. */
interface KnownClient {
  readonly limit: ClientRateLimit;
  lastUse: number;
}

/**
 * The server part of a split model: runs the blocks from the split on for many clients at a time. It has no network of its own; give it
 * connections by `accept`.
 * @throws SettingsError for settings out of range, tables of another width, and codecs that are not registered
 */
export function createSplitServer(options: SplitServerOptions): SplitServer {
  return new Server(options);
}

class Server implements SplitServer {
  readonly #handlers = new Set<ConnectionHandler>();
  readonly #serving = new Set<Promise<void>>();
  readonly #clients = new Map<string, KnownClient>();
  readonly #limits: ServerLimits;
  readonly #registry: SessionRegistry;
  readonly #prefixes: PrefixStore;
  readonly #opener: SessionOpener;
  readonly #scheduler: Scheduler;
  readonly #metrics: ServerMetrics;
  readonly #services: ConnectionServices;
  readonly #sweeper: NodeJS.Timeout;
  #resumes = 0;
  #closing: Promise<void> | undefined;

  constructor(options: SplitServerOptions) {
    const { model, fingerprint, exact = false, prefixScope = "principal", tables = [], onEvent } = options;
    const limits = limitsOf(options);
    const splitBlocks = splitBlocksOf(options);
    const codecs = codecsOf(options);
    checkTables(options, splitBlocks);
    const authenticator = createAuthenticator(options.authentication);
    this.#limits = limits;
    this.#prefixes = new PrefixStore(limits.prefixBytes);
    this.#registry = new SessionRegistry(limits, this.#prefixes);
    this.#metrics = new ServerMetrics(() => {
      const { connections, sessions, queued, prefixes, prefixBytes } = this.statistics();
      return { connections, sessions, queued, prefixes, prefixBytes, sessionBytes: this.#registry.bytes };
    });
    this.#opener = new SessionOpener({
      model, fingerprint, splitBlocks, codecs, tables, tokensPerSession: limits.tokensPerSession, registry: this.#registry,
      prefixes: this.#prefixes, prefixScope,
    });
    const event = (event: Parameters<NonNullable<typeof onEvent>>[0]): void => {
      if (event.kind === "resumed") this.#resumes++;
      try {
        onEvent?.(event);
      } catch {
        // A log that fails is not to end what it reports on.
      }
    };
    this.#scheduler = new Scheduler({
      model, registry: this.#registry, prefixes: this.#prefixes,
      metrics: this.#metrics, exact, tokensPerStep: limits.tokensPerStep, tokensPerFrame: limits.tokensPerFrame,
      onFailure: (session, error) => {
        const { client, principal } = session.settings;
        event({
          kind: "failed", peer: client, session: session.label, detail: errorText(error), ...(principal === undefined ? {} : { principal }),
        });
      },
    });
    const welcome: ControlMessages["welcome"] = {
      server: "fourier-compress",
      model: {
        name: (options.modelName ?? "model").slice(0, 128) || "model", fingerprint,
        blockCount: model.blockCount, hiddenSize: model.hiddenSize, vocabularySize: model.vocabularySize,
        maxPositionEmbeddings: Math.min(model.config.maxPositionEmbeddings, MOST_POSITIONS),
      },
      splitBlocks: [...splitBlocks],
      codecs,
      tables: tables.map(({ hash, block }) => ({ hash, block })),
      limits: {
        tokensPerFrame: limits.tokensPerFrame, tokensPerSession: limits.tokensPerSession, sessions: limits.sessionsPerClient,
        payloadBytes: payloadBytesOf(limits, model.hiddenSize), expirySeconds: limits.expirySeconds,
      },
    };
    // What is wrong with the options is to be known here, not by the first client.
    controlFrame("welcome", welcome);
    this.#services = {
      welcome, limits, authenticator, registry: this.#registry, scheduler: this.#scheduler, metrics: this.#metrics,
      opener: this.#opener, rateLimitOf: (client) => this.#rateLimitOf(client), onEvent: event,
    };
    this.#sweeper = setInterval(() => this.#sweep(), Math.min(SWEEP, 250 * limits.expirySeconds));
    this.#sweeper.unref();
  }

  get payloadBytes(): number {
    return this.#services.welcome.limits.payloadBytes;
  }

  async accept(connection: Connection): Promise<void> {
    const { connections } = this.#limits;
    if (this.#closing !== undefined) return refuse(connection, "shutting-down", "the server is shutting down");
    if (this.#handlers.size >= connections) {
      this.#metrics.refused("busy");
      return refuse(connection, "busy", `all ${connections} connections are taken; try again later`);
    }
    const handler = new ConnectionHandler(connection, this.#services);
    this.#handlers.add(handler);
    const serving = handler.serve();
    this.#serving.add(serving);
    await serving;
    this.#serving.delete(serving);
    this.#handlers.delete(handler);
  }

  statistics(): ServerStatistics {
    let queued = 0;
    // The first of a session that is in a step waits no more.
    for (const { waiting, computing } of this.#registry) queued += Math.max(0, waiting.length - (computing === undefined ? 0 : 1));
    return {
      connections: this.#handlers.size, sessions: this.#registry.size, cacheBytes: this.#registry.totalBytes, prefixes: this.#prefixes.size,
      prefixBytes: this.#prefixes.bytes, queued, steps: this.#scheduler.steps, tokens: this.#scheduler.tokens, resumes: this.#resumes,
    };
  }

  metrics(): Promise<string> {
    return this.#metrics.registry.metrics();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#sweeper);
    await this.#scheduler.stop();
    await Promise.all([...this.#handlers].map((handler) => handler.dismiss("shutting-down", "the server is shutting down")));
    await Promise.all(this.#serving);
    for (const session of this.#registry) this.#registry.remove(session);
    this.#prefixes.clear();
    this.#opener.dispose();
  }

  #sweep(): void {
    const now = performance.now();
    // Before the sessions, so that what expires is still told to its connection.
    for (const handler of this.#handlers) handler.checkIdle(now);
    for (const session of this.#registry.expired(now)) {
      this.#metrics.expiries.inc();
      const { client, principal } = session.settings;
      this.#services.onEvent({ kind: "expired", peer: client, session: session.label, ...(principal === undefined ? {} : { principal }) });
      session.holder?.released(session.handle, "unknown-session", "the session had no frame for too long");
      this.#registry.remove(session);
    }
    for (const [client, { lastUse }] of this.#clients) if (now - lastUse > RATE_LIMIT_MEMORY) this.#clients.delete(client);
  }

  /** All connections of a client share one. */
  #rateLimitOf(client: string): ClientRateLimit {
    let known = this.#clients.get(client);
    if (known === undefined) this.#clients.set(client, (known = { limit: new ClientRateLimit(this.#limits), lastUse: 0 }));
    known.lastUse = performance.now();
    return known.limit;
  }
}

async function refuse(connection: Connection, code: "busy" | "shutting-down", message: string): Promise<void> {
  const frame = encodeFrame(controlFrame("error", { code, message, retryAfterSeconds: 1 }));
  await Promise.race([connection.send(frame).catch(() => undefined), wait(SWEEP, undefined, { ref: false })]);
  connection.close(message);
}

function limitsOf({ model, limits: given = {} }: SplitServerOptions): ServerLimits {
  const positions = Math.min(model.config.maxPositionEmbeddings, MOST_POSITIONS);
  const { cacheBytes = DEFAULT_LIMITS.cacheBytes } = given;
  const limits: ServerLimits = {
    ...DEFAULT_LIMITS, tokensPerSession: Math.min(positions, 4096), cacheBytesPerClient: cacheBytes, ...given,
  };
  for (const [name, value] of Object.entries(limits) as [keyof ServerLimits, number][]) {
    const isRate = name.endsWith("Seconds") || name.endsWith("PerSecond");
    const isValid = isRate ? value > 0 && Number.isFinite(value) : Number.isInteger(value) && value >= (name === "prefixBytes" ? 0 : 1);
    if (!isValid) throw new SettingsError(`limits.${name} ${value}; use ${isRate ? "a finite number > 0" : "an integer >= 1"}`);
  }
  if (limits.tokensPerSession > positions) {
    throw new SettingsError(`limits.tokensPerSession ${limits.tokensPerSession}; the model has ${positions} positions`);
  }
  return limits;
}

function splitBlocksOf({ model, splitBlocks }: SplitServerOptions): readonly [least: number, most: number] {
  const [from, to] = model.blockRange;
  if (to !== model.blockCount) {
    throw new SettingsError(`the server's model ends at block ${to} of ${model.blockCount}; it has to hold the last`);
  }
  const [least, most] = splitBlocks ?? [from, model.blockCount];
  if (!(Number.isInteger(least) && Number.isInteger(most) && from <= least && least <= most && most <= model.blockCount)) {
    throw new SettingsError(`splitBlocks ${least} to ${most}; the model's blocks let it be ${from} to ${model.blockCount}`);
  }
  return [least, most];
}

function codecsOf({ codecs = codecNames() }: SplitServerOptions): string[] {
  const unknown = codecs.find((name) => !codecNames().includes(name));
  if (unknown !== undefined) throw new SettingsError(`codec ${JSON.stringify(unknown)}; registered are ${codecNames().join(", ")}`);
  return [...codecs];
}

function checkTables({ model, tables = [] }: SplitServerOptions, [least, most]: readonly [number, number]): void {
  if (tables.length > MOST_TABLES) throw new SettingsError(`${tables.length} tables; use at most ${MOST_TABLES}`);
  for (const { hash, block, hiddenSize } of tables) {
    if (hiddenSize !== model.hiddenSize) {
      throw new SettingsError(`table ${hash} is for hiddenSize ${hiddenSize}, the model's is ${model.hiddenSize}`);
    }
    if (block < least || block > most) throw new SettingsError(`table ${hash} is for block ${block}; splits are ${least} to ${most}`);
  }
}

/** Room for what the least compressing codec makes of a frame's tokens, and for control messages. */
function payloadBytesOf({ tokensPerFrame }: ServerLimits, hiddenSize: number): number {
  return Math.max(1 << 17, 4 * tokensPerFrame * hiddenSize + 16 * tokensPerFrame + 4096);
}
