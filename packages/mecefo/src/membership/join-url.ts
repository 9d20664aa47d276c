import { SettingsError } from "../errors.ts";

/** Where a run's control plane is. */
export type JoinTarget =
  | { readonly kind: "coordinator"; readonly address: string }
  | { readonly kind: "nats"; readonly servers: readonly string[]; readonly job: string };

/**
 * Reads what `--join` is given: "unix:/path" or "tcp://host:port" for a coordinator, "nats://host:4222,host:4222/run-name" for NATS.
 * @throws SettingsError
 */
export function parseJoinUrl(url: string): JoinTarget {
  if (/^(unix:\/|tcp:\/\/)/.test(url)) return { kind: "coordinator", address: url };
  const match = /^nats:\/\/([^/]+)\/([A-Za-z0-9_-]{1,48})$/.exec(url);
  if (match === null) {
    const places = "unix:/path, tcp://host:port or nats://host:4222[,host:4222…]/<name of the run>";
    throw new SettingsError(`"${url}" is no place to join: use ${places}`);
  }
  return { kind: "nats", servers: match[1]!.split(",").map((server) => `nats://${server}`), job: match[2]! };
}
