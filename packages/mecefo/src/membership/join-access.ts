import { SettingsError } from "../errors.ts";
import type { JoinTarget } from "./join-url.ts";
import type { NatsAccess } from "./nats/nats-link.ts";

/**
 * How a NATS cluster is reached: its own credentials come from NATS_CREDS (a .creds file), NATS_USER with NATS_PASSWORD, or NATS_TOKEN;
 * where none is set, the run's secret is given as the token, which a server without authentication ignores.
 */
export function natsAccess(
  target: Extract<JoinTarget, { kind: "nats" }>, token: string, environment: NodeJS.ProcessEnv = process.env,
): NatsAccess {
  const { NATS_CREDS, NATS_USER, NATS_PASSWORD, NATS_TOKEN } = environment;
  const { servers } = target;
  if (NATS_CREDS !== undefined) return { servers, credentialsFile: NATS_CREDS };
  if (NATS_USER !== undefined) {
    if (NATS_PASSWORD === undefined) throw new SettingsError("NATS_USER is set, NATS_PASSWORD is not");
    return { servers, user: NATS_USER, password: NATS_PASSWORD };
  }
  return { servers, token: NATS_TOKEN ?? token };
}
