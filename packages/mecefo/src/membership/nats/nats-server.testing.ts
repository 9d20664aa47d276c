import { isNatsServerInstalled } from "./local-cluster.ts";

/** Whether nats-server is installed. Without it tests are skipped with a line on stderr, except under CI, where it is required. */
export function hasNatsServer(): boolean {
  const found = isNatsServerInstalled();
  if (!found && process.env["CI"]) throw new Error("nats-server is not installed, and is required under CI (apt-get install nats-server)");
  if (!found) process.stderr.write("SKIPPED: nats-server is not installed (apt-get install nats-server), its tests do not run\n");
  return found;
}
