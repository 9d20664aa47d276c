import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { SettingsError } from "../errors.ts";
import { HMAC_PREFIX } from "../wire/answer-challenge.ts";
import type { ControlMessages } from "../wire/control-messages.ts";

/** Which credentials a server takes. */
export interface Authentication {
  /** Bearer tokens by principal. A token crosses the wire as it is: use TLS. */
  readonly bearerTokens?: { readonly [principal: string]: string };
  /** Secrets for HMAC by principal: they never cross the wire. What follows on the connection is not covered: use TLS. */
  readonly secrets?: { readonly [principal: string]: string };
}

/** Asks clients who they are, and checks what they answer. */
export interface Authenticator {
  /** A challenge for one connection: its nonce is never used twice. */
  challenge(): ControlMessages["challenge"];
  /**
   * Who answered, with `principal` undefined where everybody may come in; undefined for a wrong answer. Takes the same time for all answers
   * of a method: every principal is compared, over digests of one length.
   */
  verify(
    challenge: ControlMessages["challenge"], answer: ControlMessages["authenticate"],
  ): { readonly principal: string | undefined } | undefined;
}

const digest = (text: string): Buffer => createHash("sha256").update(text, "utf8").digest();

/** Whether two secrets are the same, in a time that depends on the given one's length alone. */
export function isSameSecret(given: string, expected: string): boolean {
  return timingSafeEqual(digest(given), digest(expected));
}

interface Principal {
  readonly principal: string;
  readonly secret: string;
}

function principalsOf(kind: string, entries: { readonly [principal: string]: string }): Principal[] {
  return Object.entries(entries).map(([principal, secret]) => {
    if (principal.length < 1 || principal.length > 128) {
      throw new SettingsError(`${kind}: principal ${JSON.stringify(principal)}; use 1 to 128 characters`);
    }
    if (secret.length < 1 || secret.length > 4096) {
      throw new SettingsError(`${kind}: that of ${principal} has ${secret.length} characters; use 1 to 4096`);
    }
    return { principal, secret };
  });
}

/** @throws SettingsError for empty credentials, or none at all in an `authentication` that was given */
export function createAuthenticator(authentication: Authentication | undefined): Authenticator {
  const tokens = principalsOf("bearerTokens", authentication?.bearerTokens ?? {});
  const secrets = principalsOf("secrets", authentication?.secrets ?? {});
  if (authentication !== undefined && tokens.length + secrets.length === 0) {
    throw new SettingsError("authentication without bearerTokens and secrets lets nobody in; leave it out to let everybody in");
  }
  const methods = [
    ...(authentication === undefined ? (["none"] as const) : []), ...(tokens.length > 0 ? (["bearer"] as const) : []),
    ...(secrets.length > 0 ? (["hmac"] as const) : []),
  ];
  const tokenDigests = tokens.map(({ secret }) => digest(secret));
  const nameDigests = secrets.map(({ principal }) => digest(principal));
  return {
    challenge: () => ({ nonce: randomBytes(32).toString("hex"), methods: [...methods] }),
    verify({ nonce }, answer) {
      if (!methods.includes(answer.method)) return undefined;
      let found: string | undefined;
      switch (answer.method) {
        case "none":
          return { principal: undefined };
        case "bearer": {
          const given = digest(answer.token);
          for (const [index, expected] of tokenDigests.entries()) {
            if (timingSafeEqual(given, expected)) found = tokens[index]!.principal;
          }
          break;
        }
        case "hmac": {
          const name = digest(answer.principal);
          const mac = digest(answer.mac);
          for (const [index, { principal, secret }] of secrets.entries()) {
            const expected = createHmac("sha256", secret).update(HMAC_PREFIX + nonce + principal, "utf8").digest("hex");
            const isRight = Number(timingSafeEqual(mac, digest(expected))) & Number(timingSafeEqual(name, nameDigests[index]!));
            if (isRight === 1) found = principal;
          }
          break;
        }
      }
      return found === undefined ? undefined : { principal: found };
    },
  };
}
