import { SettingsError } from "../../errors.ts";

/** Where a coordinator listens: a Unix socket, or a TCP port (0: any free one). */
export type ControlAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** sun_path holds 108 bytes with its end on Linux, 104 on macOS. */
const LONGEST_SOCKET_PATH = 103;

/** Reads "unix:/path/to.sock" or "tcp://host:port". @throws SettingsError */
export function parseControlAddress(text: string): ControlAddress {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (path === "" || Buffer.byteLength(path) > LONGEST_SOCKET_PATH) {
      throw new SettingsError(
        `address "${text}": a Unix socket's path has 1 to ${LONGEST_SOCKET_PATH} bytes; use a shorter folder, e.g. in the system's temporary one`,
      );
    }
    return { kind: "unix", path };
  }
  const match = /^tcp:\/\/(?:\[([0-9a-fA-F:.]+)\]|([^[\]/:\s]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65535) {
    throw new SettingsError(`address "${text}" is neither unix:/path/to.sock nor tcp://host:port`);
  }
  return { kind: "tcp", host, port };
}

/** What `parseControlAddress` reads. */
export function formatControlAddress(address: ControlAddress): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return `tcp://${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}
