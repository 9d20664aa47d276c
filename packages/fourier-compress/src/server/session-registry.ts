import { randomBytes, timingSafeEqual } from "node:crypto";
import type { PrefixStore } from "./prefix-store.ts";
import { Refusal } from "./refusal.ts";
import { Session, type SessionSettings } from "./session.ts";

/** Bounds that the registry keeps. */
export interface SessionQuotas {
  readonly sessions: number;
  readonly sessionsPerClient: number;
  readonly cacheBytes: number;
  readonly cacheBytesPerClient: number;
  readonly expirySeconds: number;
}

/** What one client has of it: its sessions, and the bytes that are counted for them. */
interface Holdings {
  sessions: number;
  bytes: number;
}

/** All sessions of a server, and the bytes that they and the kept prefixes take. */
export class SessionRegistry {
  readonly #quotas: SessionQuotas;
  readonly #prefixes: PrefixStore;
  readonly #sessions = new Map<string, Session>();
  readonly #clients = new Map<string, Holdings>();
  /** Closed ones whose cache a step still uses. */
  readonly #ending = new Map<Session, (() => void) | undefined>();
  #bytes = 0;

  constructor(quotas: SessionQuotas, prefixes: PrefixStore) {
    this.#quotas = quotas;
    this.#prefixes = prefixes;
  }

  /** Sessions, those included whose memory is still in use by a step. */
  get size(): number {
    return this.#sessions.size + this.#ending.size;
  }

  /** Bytes that count against the quota, without the prefixes'. */
  get bytes(): number {
    return this.#bytes;
  }

  get totalBytes(): number {
    return this.#bytes + this.#prefixes.bytes;
  }

  [Symbol.iterator](): IterableIterator<Session> {
    return this.#sessions.values();
  }

  /** @throws Refusal when there are too many sessions */
  checkCount(client: string): void {
    const { sessions, sessionsPerClient, expirySeconds: retryAfterSeconds } = this.#quotas;
    if (this.size >= sessions) throw new Refusal("quota", `all ${sessions} sessions are taken; try again later`, { retryAfterSeconds });
    if ((this.#clients.get(client)?.sessions ?? 0) >= sessionsPerClient) {
      throw new Refusal("quota", `${client} has ${sessionsPerClient} sessions; close one first`, { retryAfterSeconds });
    }
  }

  /** Whether so many more bytes fit. */
  fits(bytes: number): boolean {
    return this.totalBytes + bytes <= this.#quotas.cacheBytes;
  }

  /** Makes room for a client by letting go of kept prefixes. @throws Refusal when that is not enough, or the client has too much */
  makeRoom(client: string, bytes: number): void {
    const { cacheBytes, cacheBytesPerClient, expirySeconds: retryAfterSeconds } = this.#quotas;
    const own = this.#clients.get(client)?.bytes ?? 0;
    if (own + bytes > cacheBytesPerClient) {
      const detail = `${own} of the ${cacheBytesPerClient} for one client are taken; close a session first`;
      throw new Refusal("quota", `${bytes} more bytes do not fit: ${detail}`, { retryAfterSeconds });
    }
    while (!this.fits(bytes)) {
      if (this.#prefixes.evict()) continue;
      throw new Refusal("quota", `${bytes} more bytes do not fit: ${this.#bytes} of ${cacheBytes} are taken`, { retryAfterSeconds });
    }
  }

  /**
   * A session with a new id and secret. Its cache belongs to it from here on.
   * @throws Refusal when there are too many; the cache is the caller's then
   */
  add(settings: Omit<SessionSettings, "id" | "secret">): Session {
    this.checkCount(settings.client);
    const session = new Session({ ...settings, id: randomBytes(16).toString("hex"), secret: randomBytes(32) });
    this.#sessions.set(session.settings.id, session);
    const holdings = this.#clients.get(settings.client) ?? { sessions: 0, bytes: 0 };
    holdings.sessions++;
    this.#clients.set(settings.client, holdings);
    this.recount(session);
    return session;
  }

  /** The session of an id and its secret; the same refusal whatever of it is wrong. @throws Refusal */
  find(id: string, secret: string, principal: string | undefined): Session {
    const session = this.#sessions.get(id);
    const given = Buffer.from(secret, "hex");
    const known = session?.settings.secret ?? Buffer.alloc(given.length);
    const isSecret = given.length === known.length && timingSafeEqual(given, known);
    if (session === undefined || !isSecret || session.settings.principal !== principal) {
      throw new Refusal("unknown-session", "no such session; it has expired, or never was");
    }
    return session;
  }

  /** Counts what a session is about to take, before it takes it. @throws Refusal when it does not fit */
  reserve(session: Session, bytes: number): void {
    const more = bytes - session.countedBytes;
    if (more <= 0) return;
    this.makeRoom(session.settings.client, more);
    this.#count(session, bytes);
  }

  /** Counts what a session takes. */
  recount(session: Session): void {
    this.#count(session, session.heldBytes);
  }

  #count(session: Session, bytes: number): void {
    const more = bytes - session.countedBytes;
    session.countedBytes = bytes;
    this.#bytes += more;
    this.#clients.get(session.settings.client)!.bytes += more;
  }

  /**
   * Ends a session and frees its cache, after the step that uses it. Safe to call twice.
   * @param beforeFreeing called when no step uses the cache any more
   */
  remove(session: Session, beforeFreeing?: () => void): void {
    if (session.isClosed) return;
    session.isClosed = true;
    this.#sessions.delete(session.settings.id);
    this.#clients.get(session.settings.client)!.sessions--;
    session.dropWaiting();
    this.#ending.set(session, beforeFreeing);
    if (session.computing === undefined) this.free(session);
  }

  /** Frees the cache of a session that has been removed. */
  free(session: Session): void {
    const beforeFreeing = this.#ending.get(session);
    if (!this.#ending.delete(session)) return;
    beforeFreeing?.();
    session.cache.dispose();
    session.kept = undefined;
    this.#count(session, 0);
    const { client } = session.settings;
    const { sessions, bytes } = this.#clients.get(client)!;
    if (sessions === 0 && bytes === 0) this.#clients.delete(client);
  }

  /** Sessions without a frame for too long. */
  expired(now: number): Session[] {
    const oldest = now - 1000 * this.#quotas.expirySeconds;
    return [...this].filter(({ lastUse, waiting, computing }) => lastUse < oldest && waiting.length === 0 && computing === undefined);
  }
}
