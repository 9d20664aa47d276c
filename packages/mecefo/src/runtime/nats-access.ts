import type { NatsAccess } from "../membership/nats/nats-link.ts";

/**
 * How NATS is reached: its servers, and credentials of the environment. MECEFO_NATS_TOKEN, MECEFO_NATS_USER with MECEFO_NATS_PASSWORD, or
 * MECEFO_NATS_CREDENTIALS, the path of a .creds file.
 */
export function natsAccess(servers: readonly string[]): NatsAccess {
  const { MECEFO_NATS_TOKEN: token, MECEFO_NATS_USER: user, MECEFO_NATS_PASSWORD: password, MECEFO_NATS_CREDENTIALS: credentialsFile } = process.env;
  return { servers, token, user, password, credentialsFile };
}
