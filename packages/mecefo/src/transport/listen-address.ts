import { SettingsError } from "../errors.ts";

/** Where a socket listens or is dialled. */
export type SocketAddress = { readonly path: string } | { readonly host: string; readonly port: number };

/** Longest path that a Unix socket can have on every system. */
const LONGEST_PATH = 103;

/**
 * Reads "unix:/path" or "tcp://host:port" (IPv6 hosts in brackets).
 * @throws SettingsError
 */
export function parseAddress(text: string): SocketAddress {
  if (text.startsWith("unix:")) {
    const path = text.slice(5);
    const bytes = Buffer.byteLength(path);
    if (!path.startsWith("/") || path.includes("\0")) throw new SettingsError(`address "${text}" has no absolute path`);
    if (bytes > LONGEST_PATH) {
      throw new SettingsError(`address "${text}": the path has ${bytes} bytes, a Unix socket's at most ${LONGEST_PATH}`);
    }
    return { path };
  }
  const match = /^tcp:\/\/(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) throw new SettingsError(`address "${text}" is neither unix:/path nor tcp://host:port`);
  return { host: match[1] ?? match[2]!, port };
}

/** Writes what `parseAddress` reads. */
export function formatAddress(address: SocketAddress): string {
  if ("path" in address) return `unix:${address.path}`;
  return `tcp://${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}
