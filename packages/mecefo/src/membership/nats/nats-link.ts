import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, credsAuthenticator, errors, type NatsConnection } from "@nats-io/transport-node";
import { MembershipError } from "../../errors.ts";

/** How a NATS cluster is reached. */
export interface NatsAccess {
  /** "nats://host:port" of one or more servers of the cluster. */
  readonly servers: readonly string[];
  readonly token?: string | undefined;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** A .creds file (JWT and NKey). */
  readonly credentialsFile?: string | undefined;
}

/** Milliseconds in which a first connection has to be made. */
const CONNECT_LIMIT = 10_000;
/** A server that leaves two pings in a row unanswered is left for another: sooner than anybody is suspected because of it. */
const PING_INTERVAL = 300;

/** A connection to a NATS cluster that is made again for ever, and that knows whether it stands. */
export class NatsLink {
  readonly connection: NatsConnection;
  readonly #reconnected: (() => void)[] = [];
  #connected = true;
  #lostAt = 0;

  private constructor(connection: NatsConnection) {
    this.connection = connection;
    void this.#follow();
  }

  /** @throws MembershipError when no server can be reached or the credentials are refused */
  static async open(access: NatsAccess, name: string, limit: number = CONNECT_LIMIT): Promise<NatsLink> {
    const servers = [...access.servers];
    const { token, user, password: pass, credentialsFile } = access;
    const authenticator = credentialsFile === undefined ? undefined : credsAuthenticator(await readFile(credentialsFile));
    const deadline = performance.now() + limit;
    for (;;) {
      try {
        return new NatsLink(await connect({
          servers, name, timeout: 2000, maxReconnectAttempts: -1, reconnectDelayHandler: () => 50 + Math.random() * 50,
          pingInterval: PING_INTERVAL, maxPingOut: 2,
          ...(token === undefined ? {} : { token }), ...(user === undefined ? {} : { user }), ...(pass === undefined ? {} : { pass }),
          ...(authenticator === undefined ? {} : { authenticator }),
        }));
      } catch (error) {
        const cause = error as Error;
        const refused = cause instanceof errors.AuthorizationError || cause.cause instanceof errors.AuthorizationError;
        if (refused) throw new MembershipError(`NATS at ${servers.join(", ")} refuses the credentials: ${cause.message}`, { cause });
        if (performance.now() > deadline) {
          throw new MembershipError(
            `no NATS server can be reached at ${servers.join(", ")} (${cause.message}); start one with JetStream, e.g. "nats-server -js"`,
            { cause },
          );
        }
        await sleep(100);
      }
    }
  }

  /** Whether the connection stands at this moment, as far as is known. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Milliseconds since the connection was lost; 0 while it stands. */
  get lostFor(): number {
    return this.#connected ? 0 : performance.now() - this.#lostAt;
  }

  /** Servers of the cluster that are known. */
  get clusterSize(): number {
    const { info } = this.connection;
    return info?.cluster === undefined ? 1 : Math.max(1, new Set(info.connect_urls ?? []).size);
  }

  /** Called whenever the connection was made again. */
  onReconnect(listener: () => void): void {
    this.#reconnected.push(listener);
  }

  /** Sends what is left and closes; at once where there is no connection. */
  async close(): Promise<void> {
    if (this.connection.isClosed()) return;
    if (this.#connected) {
      await Promise.race([this.connection.drain().catch(() => undefined), sleep(1000, undefined, { ref: false })]);
    }
    await this.connection.close();
  }

  async #follow(): Promise<void> {
    for await (const { type } of this.connection.status()) {
      if (type === "disconnect") {
        this.#connected = false;
        this.#lostAt = performance.now();
      } else if (type === "reconnect") {
        this.#connected = true;
        for (const listener of this.#reconnected) listener();
      }
    }
    this.#connected = false;
  }
}
