import { isIPv6 } from "node:net";
import { SettingsError } from "../errors.ts";
import { DEFAULT_FRAME_LIMITS } from "../wire/frame.ts";
import type { MetricsOptions } from "./http-endpoint.ts";
import type { SplitServer } from "./split-server-options.ts";

/** What listeners use of a server. */
export type ListeningServer = Pick<SplitServer, "accept" | "metrics"> & Partial<Pick<SplitServer, "payloadBytes">>;

/** What `listenWebSocket` and `listenHttp2` share. */
export interface ListenOptions {
  /** Default 0: any that is free. */
  readonly port?: number;
  /** Default "127.0.0.1": this machine alone. */
  readonly host?: string;
  /** Where connections are taken. Default "/". */
  readonly path?: string;
  /**
   * Origins of the pages that may connect, as "https://example.org"; "*" for all. Browsers send one, programs need not. Default: none, so
   * that no page can.
   */
  readonly origins?: readonly string[];
  /** Refuse also what sends no origin. Default false. */
  readonly requireOrigin?: boolean;
  /** Largest payload of a frame. Default: the server's `payloadBytes`, what its limits let a client send. */
  readonly maxPayload?: number;
  /** Connections at a time. Default 1024. */
  readonly connections?: number;
  /** Connections at a time of one address (of one /64 network for IPv6). Default 256. */
  readonly connectionsPerAddress?: number;
  /** Who is at the other end, for limits and logs, from the headers that a trusted proxy sets. Default: the address of the socket. */
  readonly addressOf?: (headers: { readonly [name: string]: string | string[] | undefined }, socketAddress: string) => string;
  /** Seconds for the handshakes of TLS and HTTP. Default 10. */
  readonly handshakeSeconds?: number;
  /** Seconds without a sign of life (answers to pings count) after which a connection is cut. Default 120. */
  readonly idleSeconds?: number;
  /** `GET /metrics`; false turns it off. Default: on, for everybody who can reach the port. */
  readonly metrics?: MetricsOptions | false;
}

/** Bytes that a client may send before the server knows it: a handshake takes less than a third of it. */
export const HANDSHAKE_BYTES: number = 64 << 10;

/** Pings in `idleSeconds`. They are counted, not timed: a server that was busy all that time has not heard its clients either. */
export const PINGS = 4;

/** `ListenOptions` with their defaults. */
export type ListenSettings = Required<ListenOptions>;

/** Where a server listens. */
export interface Listener {
  /** For clients, as "ws://127.0.0.1:8080/". */
  readonly url: string;
  readonly port: number;
  /** Takes no more connections, and cuts those that are; the server itself stays. */
  close(): Promise<void>;
}

/** @throws SettingsError */
export function listenSettings(options: ListenOptions, { payloadBytes }: Pick<ListeningServer, "payloadBytes"> = {}): ListenSettings {
  const settings: ListenSettings = {
    port: 0, host: "127.0.0.1", path: "/", origins: [], requireOrigin: false, maxPayload: payloadBytes ?? DEFAULT_FRAME_LIMITS.payloadBytes,
    connections: 1024, connectionsPerAddress: 256, addressOf: (_, address) => address, handshakeSeconds: 10, idleSeconds: 120, metrics: {},
    ...options,
  };
  for (const name of ["maxPayload", "connections", "connectionsPerAddress"] as const) {
    if (!Number.isSafeInteger(settings[name]) || settings[name] < 1) {
      throw new SettingsError(`listen: ${name} ${settings[name]}; use an integer >= 1`);
    }
  }
  if (!(Number.isInteger(settings.port) && settings.port >= 0 && settings.port < 2 ** 16)) {
    throw new SettingsError(`listen: port ${settings.port}; use 0 to 65535`);
  }
  for (const name of ["handshakeSeconds", "idleSeconds"] as const) {
    if (!(settings[name] > 0 && settings[name] < 2 ** 20)) throw new SettingsError(`listen: ${name} ${settings[name]}; use seconds > 0`);
  }
  if (!settings.path.startsWith("/")) throw new SettingsError(`listen: path ${JSON.stringify(settings.path)}; begin it with /`);
  for (const origin of settings.origins) {
    if (origin !== "*" && (!URL.canParse(origin) || new URL(origin).origin !== origin)) {
      throw new SettingsError(`listen: origin ${JSON.stringify(origin)}; use one as https://example.org, or *`);
    }
  }
  return settings;
}

/** Whether a request with this Origin header may connect. */
export function isAllowedOrigin(origin: string | undefined, { origins, requireOrigin }: ListenSettings): boolean {
  if (origin === undefined) return !requireOrigin;
  return origins.includes("*") || origins.includes(origin);
}

/** An address as it is counted: IPv4 also in its IPv6 form, IPv6 by its network, which one host can have all addresses of. */
export function addressKey(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const plain = address.split("%", 1)[0]!;
  if (!isIPv6(plain)) return address;
  const [head = "", tail] = plain.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = tail === undefined ? left : [...left, ...new Array<string>(8 - left.length - right.length).fill("0"), ...right];
  return `${groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(":")}::/64`;
}

/** Counts connections, in all and by address. */
export class ConnectionCounter {
  readonly #limits: Pick<ListenSettings, "connections" | "connectionsPerAddress">;
  readonly #byAddress = new Map<string, number>();
  #total = 0;

  constructor(limits: Pick<ListenSettings, "connections" | "connectionsPerAddress">) {
    this.#limits = limits;
  }

  /** Counts one in by its `addressKey`; the answer counts it out again. Undefined when there are enough. */
  enter(key: string): (() => void) | undefined {
    const count = this.#byAddress.get(key) ?? 0;
    if (this.#total >= this.#limits.connections || count >= this.#limits.connectionsPerAddress) return undefined;
    this.#total++;
    this.#byAddress.set(key, count + 1);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#total--;
      const rest = this.#byAddress.get(key)! - 1;
      if (rest === 0) this.#byAddress.delete(key);
      else this.#byAddress.set(key, rest);
    };
  }
}
