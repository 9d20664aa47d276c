import { SettingsError } from "../errors.ts";
import type { ControlMessages } from "./control-messages.ts";
import { webCrypto } from "./web-crypto.ts";

/** What a client proves who it is with. */
export type Credentials =
  /** Crosses the wire as it is: only over TLS, or on one machine. */
  | { readonly bearerToken: string }
  /** Never crosses the wire: its HMAC of the server's nonce does. */
  | { readonly principal: string; readonly secret: string };

/** What HMACs begin with, so that they are of no use elsewhere. */
export const HMAC_PREFIX = "fourier-compress";

const hexadecimal = (bytes: ArrayBuffer): string => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * The answer to a server's challenge, made with WebCrypto. Credentials that the server does not ask for are not sent.
 * @throws SettingsError when the server asks for credentials that are not there, and for HMAC in pages without WebCrypto
 */
export async function answerChallenge(
  { nonce, methods }: ControlMessages["challenge"], credentials?: Credentials,
): Promise<ControlMessages["authenticate"]> {
  if (credentials !== undefined && "secret" in credentials && methods.includes("hmac")) {
    const { principal, secret } = credentials;
    const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
    const key = await webCrypto().importKey("raw", encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const mac = await webCrypto().sign("HMAC", key, encode(HMAC_PREFIX + nonce + principal));
    return { method: "hmac", principal, mac: hexadecimal(mac) };
  }
  if (credentials !== undefined && "bearerToken" in credentials && methods.includes("bearer")) {
    return { method: "bearer", token: credentials.bearerToken };
  }
  if (methods.includes("none")) return { method: "none" };
  const given = credentials === undefined ? "none are given" : `a ${"secret" in credentials ? "secret for hmac" : "bearer token"} is given`;
  throw new SettingsError(`the server asks for credentials of ${methods.join(" or ")}; ${given}`);
}
