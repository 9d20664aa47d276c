import { readFile } from "node:fs/promises";
import { integer, note } from "@frugal/language-model/command-line";
import type { Command } from "commander";
import { WebSocket } from "ws";
import type { ClientEvent } from "../client/client-events.ts";
import type { ClientTraffic } from "../client/traffic.ts";
import { SettingsError } from "../errors.ts";
import type { Transport } from "../transport/connection.ts";
import { http2Transport } from "../transport/http2.ts";
import { webSocketTransport, type WebSocketOptions } from "../transport/web-socket.ts";
import type { Credentials } from "../wire/answer-challenge.ts";
import { FRAME_HEADER_BYTES } from "../wire/frame.ts";
import { readSecret } from "./arguments-secret.ts";

/** What commands that connect have been told about it. */
export interface ConnectionArguments {
  readonly server: string;
  readonly tokenFile?: string;
  readonly tokenEnv?: string;
  readonly secretFile?: string;
  readonly secretEnv?: string;
  readonly principal: string;
  readonly ca?: string;
  readonly reconnect: number;
}

/** Adds `--server` and what goes with it. */
export function addConnectionOptions(command: Command): Command {
  return command
    .requiredOption("--server <url>", "of `serve`: ws:, wss:, or http: and https: for HTTP/2")
    .option("--token-file <file>", "file with the bearer token")
    .option("--token-env <name>", "environment variable with it")
    .option("--secret-file <file>", "file with the secret for HMAC")
    .option("--secret-env <name>", "environment variable with it")
    .option("--principal <name>", "who the secret belongs to", "client")
    .option("--ca <file>", "certificate to trust beside the system's, PEM")
    .option("--reconnect <attempts>", "attempts in a row when the connection breaks", integer(0), 8);
}

/** @throws SettingsError for an address of another scheme */
export async function transportOf({ server, ca }: ConnectionArguments): Promise<Transport> {
  if (!URL.canParse(server)) throw new SettingsError(`--server ${server} is no URL; give one as ws://127.0.0.1:8080`);
  const certificate = ca === undefined ? {} : { ca: await readFile(ca) };
  const { protocol } = new URL(server);
  if (protocol === "http:" || protocol === "https:") return http2Transport(server, ca === undefined ? {} : { tls: certificate });
  // The package's sockets wait for slow readers, and take certificates; those of Node do neither.
  const createSocket = (url: string, protocols: string[]): WebSocket =>
    new WebSocket(url, protocols, { ...certificate, perMessageDeflate: false });
  return webSocketTransport(server, { createSocket: createSocket as NonNullable<WebSocketOptions["createSocket"]> });
}

/** What the client proves who it is with. @throws SettingsError for two of them */
export async function credentialsOf(given: ConnectionArguments): Promise<Credentials | undefined> {
  const bearerToken = await readSecret("token", { file: given.tokenFile, variable: given.tokenEnv });
  const secret = await readSecret("secret", { file: given.secretFile, variable: given.secretEnv });
  if (bearerToken !== undefined && secret !== undefined) throw new SettingsError("give a token or a secret, not both");
  if (bearerToken !== undefined) {
    if (isReadable(given.server)) note("the token crosses the network unencrypted; use wss: or https:, or a secret, which stays here");
    return { bearerToken };
  }
  return secret === undefined ? undefined : { principal: given.principal, secret };
}

/** Whether others on the way can read what is sent: no TLS, and not this machine. */
function isReadable(server: string): boolean {
  if (!URL.canParse(server)) return false;
  const { protocol, hostname } = new URL(server);
  return (protocol === "ws:" || protocol === "http:") && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

/** Tells on stderr of what is out of the ordinary. */
export function noteEvents(silent: boolean): (event: ClientEvent) => void {
  if (silent) return () => {};
  return (event) => {
    switch (event.kind) {
      case "disconnected":
        note(`disconnected: ${event.reason}`);
        return;
      case "reconnecting":
        if (event.attempt > 1) note(`attempt ${event.attempt} in ${(event.delayMilliseconds / 1000).toFixed(1)} s`);
        return;
      case "resumed":
        note(`session resumed, ${event.resent} messages sent again`);
        return;
      case "rebuilt":
        note(`the server had lost the session: rebuilt from ${event.messages} messages`);
        return;
      case "connected":
      case "opened":
      case "gave-up":
    }
  };
}

const bytes = (count: number): string => (count < 10_000 ? `${count} bytes` : `${(count / 1024).toFixed(1)} KiB`);

/** What crossed the network, as lines for people. */
export function trafficLines(traffic: ClientTraffic): string[] {
  const { roundTrip: trip } = traffic;
  const error = traffic.relativeError;
  const messages = `${traffic.messages} messages with ${traffic.tokens} tokens in ${bytes(traffic.activationBytes)}`;
  const [float16, float32] = [traffic.byteRatioFloat16, traffic.byteRatioFloat32].map((ratio) => `${ratio.toFixed(2)}x`);
  const alone = (traffic.float16Bytes / Math.max(1, traffic.messageBytes)).toFixed(2);
  const lines = [
    ["sent", `${bytes(traffic.bytesSent)}, ${messages}`],
    ["received", bytes(traffic.bytesReceived)],
    ["element ratio", `${traffic.elementRatio.toFixed(2)}x`],
    ["byte ratio", `${float16} of float16, ${float32} of float32, all headers included`],
    ["codec alone", `${alone}x of float16, without the ${FRAME_HEADER_BYTES} bytes of each frame`],
    ["relative error", error === undefined ? "not sampled" : `${error.toFixed(4)} in ${traffic.sampledMessages} sampled messages`],
    ["round trip", `median ${trip.median.toFixed(1)} ms, mean ${trip.mean.toFixed(1)} ms, most ${trip.most.toFixed(1)} ms`],
    ["encoding", `${(traffic.encodeMilliseconds / Math.max(1, traffic.messages)).toFixed(2)} ms a message`],
  ] as [string, string][];
  if (traffic.connections > 1 || traffic.resumes > 0 || traffic.rebuilds > 0) {
    const again = `${traffic.resumes} sessions resumed, ${traffic.rebuilds} rebuilt, ${bytes(traffic.resentBytes)} sent again`;
    lines.push(["connections", `${traffic.connections}, ${again}`]);
  }
  if (traffic.reusedTokens > 0) lines.push(["kept prefix", `${traffic.reusedTokens} tokens not sent`]);
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
}
