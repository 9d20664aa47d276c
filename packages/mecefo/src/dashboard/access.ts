import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isIP, isIPv4 } from "node:net";
import { SettingsError } from "../errors.ts";

const LEAST_TOKEN_LENGTH = 16;

/** Whether a host names this machine alone. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  return bare === "localhost" || bare === "::1" || (isIPv4(bare) && bare.startsWith("127."));
}

/** The host name of a Host header, without its port; undefined when it is none. */
export function hostnameOf(header: string | undefined): string | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?$/i.exec(header ?? "");
  return match?.[1];
}

/** Compares secrets in a time that says nothing about them, not even their lengths. */
function isSame(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

/** Who may see the page, and who may bring faults about. */
export class Access {
  readonly #token: string | undefined;
  /** What the cookie holds: not the token, and another after each start. */
  readonly #session = randomBytes(32).toString("base64url");
  readonly #loopback: boolean;

  /** @throws SettingsError for a host that others reach without a token, and for a token that can be guessed */
  constructor(host: string, token: string | undefined) {
    this.#token = token;
    this.#loopback = isLoopback(host);
    if (!this.#loopback && token === undefined) {
      const kind = isIP(host) === 0 ? "host" : "address";
      throw new SettingsError(`dashboard: ${kind} ${host} can be reached from other machines: give a token, or use 127.0.0.1`);
    }
    if (token !== undefined && (token.length < LEAST_TOKEN_LENGTH || !/^[\x21-\x7e]+$/.test(token))) {
      const detail = `has ${token.length} characters; use at least ${LEAST_TOKEN_LENGTH}, without spaces`;
      throw new SettingsError(`dashboard: the token ${detail}`);
    }
  }

  /** Against DNS rebinding: a page of another name that resolves to this machine does not come with our name. */
  allowsHost(request: IncomingMessage): boolean {
    const name = hostnameOf(request.headers.host);
    return name !== undefined && (!this.#loopback || isLoopback(name));
  }

  /** Whether a token is needed at all. */
  get needsToken(): boolean {
    return this.#token !== undefined;
  }

  /** How a request identifies itself: by the token in a header, by the page's cookie, or not at all where that is enough. */
  identify(request: IncomingMessage, port: number): "token" | "cookie" | "open" | undefined {
    if (this.#token === undefined) return "open";
    const bearer = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (bearer !== undefined) return isSame(bearer, this.#token) ? "token" : undefined;
    const name = this.#cookieName(port);
    const cookie = (request.headers.cookie ?? "").split(";").map((part) => part.trim()).find((part) => part.startsWith(`${name}=`));
    return cookie !== undefined && isSame(cookie.slice(name.length + 1), this.#session) ? "cookie" : undefined;
  }

  /** Whether the token of the page's address is right. */
  acceptsToken(token: string): boolean {
    return this.#token !== undefined && isSame(token, this.#token);
  }

  /** The cookie that the page goes on with. Cookies know no ports, so its name has it. */
  cookie(port: number): string {
    return `${this.#cookieName(port)}=${this.#session}; HttpOnly; SameSite=Strict; Path=/`;
  }

  /** Whether a request that changes something comes from our own page, or from somebody who has the token. */
  allowsChange(request: IncomingMessage, identity: "token" | "cookie" | "open"): boolean {
    if (identity === "token") return true;
    const site = request.headers["sec-fetch-site"];
    if (site !== undefined && site !== "same-origin") return false;
    const { origin, host } = request.headers;
    return origin !== undefined && (origin === `http://${host}` || origin === `https://${host}`);
  }

  #cookieName(port: number): string {
    return `mecefo_${port}`;
  }
}
