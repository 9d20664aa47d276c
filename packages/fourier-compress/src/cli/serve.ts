import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import {
  applyThreads, collect, type CommandDevice, deviceOption, endBySignal, integer, interrupted, interruptible, note, numberBetween,
  precisionOption, printJson, threadsOption,
} from "@frugal/language-model/command-line";
import { modelFingerprint, type WeightPrecision } from "@frugal/language-model";
import { Command, Option } from "commander";
import { readCodecTable } from "../calibration/table-file.ts";
import { SettingsError } from "../errors.ts";
import type { Authentication } from "../server/authentication.ts";
import { listenHttp2 } from "../server/listen-http2.ts";
import type { MetricsOptions } from "../server/http-endpoint.ts";
import type { Listener } from "../server/listen-options.ts";
import { listenWebSocket } from "../server/listen-websocket.ts";
import type { ServerEvent, ServerLimits } from "../server/split-server-options.ts";
import { createSplitServer } from "../server/split-server.ts";
import { checkSplit, loadParts, openNamedModel } from "./models.ts";
import { readSecret } from "./arguments-secret.ts";

interface ServeArguments {
  readonly model: string;
  readonly split: number;
  readonly port: number;
  readonly host: string;
  readonly path: string;
  readonly table?: readonly string[];
  readonly tokenFile?: string;
  readonly tokenEnv?: string;
  readonly secretFile?: string;
  readonly secretEnv?: string;
  readonly principal: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly origin?: readonly string[];
  readonly http2: boolean;
  readonly sessions?: number;
  readonly sessionsPerClient?: number;
  readonly tokensPerSession?: number;
  readonly tokensPerFrame?: number;
  readonly cacheMebibytes?: number;
  readonly cacheMebibytesPerClient?: number;
  readonly prefixMebibytes?: number;
  readonly expiry?: number;
  readonly metrics: boolean;
  readonly metricsTokenFile?: string;
  readonly metricsTokenEnv?: string;
  readonly exact: boolean;
  readonly precision: WeightPrecision;
  readonly device: CommandDevice;
  readonly threads?: number;
  readonly log: "lines" | "json" | "none";
  readonly json: boolean;
}

function bytesOf(mebibytes: number | undefined): number | undefined {
  return mebibytes === undefined ? undefined : mebibytes * 2 ** 20;
}

function limitsOf(given: ServeArguments): Partial<ServerLimits> {
  const limits = {
    sessions: given.sessions, sessionsPerClient: given.sessionsPerClient, tokensPerSession: given.tokensPerSession,
    tokensPerFrame: given.tokensPerFrame, expirySeconds: given.expiry,
    cacheBytes: bytesOf(given.cacheMebibytes), cacheBytesPerClient: bytesOf(given.cacheMebibytesPerClient),
    prefixBytes: bytesOf(given.prefixMebibytes),
  };
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
}

async function authenticationOf(given: ServeArguments): Promise<Authentication | undefined> {
  const token = await readSecret("token", { file: given.tokenFile, variable: given.tokenEnv });
  const secret = await readSecret("secret", { file: given.secretFile, variable: given.secretEnv });
  if (token === undefined && secret === undefined) return undefined;
  const { principal } = given;
  return {
    ...(token === undefined ? {} : { bearerTokens: { [principal]: token } }),
    ...(secret === undefined ? {} : { secrets: { [principal]: secret } }),
  };
}

async function tlsOf({ tlsCert, tlsKey }: ServeArguments): Promise<{ cert: Buffer; key: Buffer } | undefined> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) throw new SettingsError("give --tls-cert and --tls-key together");
  const [cert, key] = [await readFile(tlsCert), await readFile(tlsKey)];
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new SettingsError(`--tls-cert ${tlsCert} and --tls-key ${tlsKey} are no PEM pair: ${detail}`, { cause });
  }
  return { cert, key };
}

/** How the metrics are answered. */
async function metricsOf(given: ServeArguments): Promise<MetricsOptions | false> {
  const bearerToken = await readSecret("metrics-token", { file: given.metricsTokenFile, variable: given.metricsTokenEnv });
  if (!given.metrics && bearerToken !== undefined) throw new SettingsError("--no-metrics goes without a token for them");
  return given.metrics ? (bearerToken === undefined ? {} : { bearerToken }) : false;
}

const isThisMachine = (host: string): boolean => ["127.0.0.1", "::1", "localhost"].includes(host);

/** What is open to more people than its user may think. */
function warnings({ host }: ServeArguments, { authentication, tls, metrics }: {
  readonly authentication: Authentication | undefined; readonly tls: object | undefined; readonly metrics: MetricsOptions | false;
}): string[] {
  if (isThisMachine(host)) return [];
  return [
    ...(authentication === undefined ? [`everybody who reaches ${host} can use it: give --token-file or --secret-file`] : []),
    ...(tls === undefined && authentication !== undefined
      ? ["without --tls-cert bearer tokens and activations cross the network in the clear"]
      : []),
    ...(metrics !== false && metrics.bearerToken === undefined && authentication !== undefined
      ? [`everybody who reaches ${host} can read /metrics: give --metrics-token-file, or --no-metrics`]
      : []),
  ];
}

/** A line of the log on stderr. */
function logger(format: ServeArguments["log"]): (event: ServerEvent) => void {
  if (format === "none") return () => {};
  if (format === "json") return (event) => process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), ...event })}\n`);
  return ({ kind, peer, principal, session, detail }) => {
    const who = principal === undefined ? peer : `${principal}@${peer}`;
    const about = [who, session === undefined ? "" : `session ${session.slice(0, 8)}`, detail ?? ""].filter((part) => part !== "");
    note(`${new Date().toISOString()} ${kind} ${about.join(" ")}`);
  };
}

async function serve(given: ServeArguments): Promise<void> {
  applyThreads(given.threads);
  const [tables, authentication, tls, metrics] = await Promise.all([
    Promise.all((given.table ?? []).map((path) => readCodecTable(path))), authenticationOf(given), tlsOf(given), metricsOf(given),
  ]);
  const { source } = await openNamedModel(given);
  checkSplit(given.split, source);
  const blocks = [given.split, source.config.numHiddenLayers] as const;
  const fingerprint = await modelFingerprint(source.config);
  const model = await loadParts(source, given, { blocks, embedding: false }, { silent: given.json, task: "serve" });
  await source.close();
  const server = createSplitServer({
    model, fingerprint, modelName: given.model.slice(-128), tables, limits: limitsOf(given), exact: given.exact, onEvent: logger(given.log),
    ...(authentication === undefined ? {} : { authentication }),
  });
  try {
    await interruptible(async () => {
      const { port, host, path, origin } = given;
      const options = {
        port, host, path, metrics, ...(origin === undefined ? {} : { origins: origin }), ...(tls === undefined ? {} : { tls }),
      };
      const listener: Listener = given.http2 ? await listenHttp2(server, options) : await listenWebSocket(server, options);
      endBySignal();
      const { url } = listener;
      if (given.json) {
        printJson({
          url, port: listener.port, pid: process.pid, model: given.model, fingerprint, blocks,
          tables: tables.map(({ hash, block }) => ({ hash, block })),
          authentication: authentication !== undefined, tls: tls !== undefined, exact: given.exact,
        });
      } else {
        process.stdout.write(`${url}\n`);
        note(`serving ${given.model}, blocks ${blocks[0]} to ${blocks[1] - 1} and the head; Ctrl-C ends it`);
        for (const warning of warnings(given, { authentication, tls, metrics })) note(warning);
      }
      await interrupted();
      await server.close();
      await listener.close();
    });
  } finally {
    await server.close();
    model.dispose();
  }
}

/** `fourier-compress serve`. */
export function serveCommand(): Command {
  return new Command("serve")
    .description("Run the server's part of a model; prints its URL. Only its blocks and the head are loaded.")
    .requiredOption("--model <model>", "path, owner/name on the Hugging Face hub, stories15M or tinyllama")
    .option("--split <block>", "the first block that is served; clients may split there or later", integer(0), 1)
    .option("--port <port>", "0 takes any that is free", integer(0, 65_535), 0)
    .option("--host <address>", "address to listen at; 0.0.0.0 for all", "127.0.0.1")
    .option("--path <path>", "where connections are taken", "/")
    .option("--table <file>", "codec table of `calibrate` that clients may use; can be given several times", collect)
    .option("--token-file <file>", "file with the bearer token that clients have to show")
    .option("--token-env <name>", "environment variable with it")
    .option("--secret-file <file>", "file with the secret for HMAC, which never crosses the wire")
    .option("--secret-env <name>", "environment variable with it")
    .option("--principal <name>", "who token and secret belong to", "client")
    .option("--tls-cert <file>", "certificate chain, PEM")
    .option("--tls-key <file>", "its private key, PEM")
    .option("--origin <origin>", "origin of pages that may connect, as https://example.org; can be given several times", collect)
    .option("--http2", "HTTP/2 streams instead of WebSockets", false)
    .option("--sessions <count>", "sessions at a time", integer(1))
    .option("--sessions-per-client <count>", "of one client", integer(1))
    .option("--tokens-per-session <count>", "tokens that a session may hold", integer(1))
    .option("--tokens-per-frame <count>", "tokens of one message", integer(1))
    .option("--cache-mebibytes <size>", "memory for all key-value caches", integer(1))
    .option("--cache-mebibytes-per-client <size>", "of one client's sessions (default: all of it)", integer(1))
    .option("--prefix-mebibytes <size>", "memory for kept prefixes among it", integer(0))
    .option("--expiry <seconds>", "how long a session without a message is kept", numberBetween(1, 1e6))
    .option("--no-metrics", "do not answer GET /metrics")
    .option("--metrics-token-file <file>", "file with the bearer token that GET /metrics asks for (default: everybody may read)")
    .option("--metrics-token-env <name>", "environment variable with it")
    .option("--exact", "compute every session by itself: the unsplit model's tokens to the last bit, less throughput", false)
    .addOption(precisionOption())
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addOption(new Option("--log <format>", "events, on stderr").choices(["lines", "json", "none"]).default("lines"))
    .option("--json", "print one JSON object with the URL instead of lines", false)
    .action((given: ServeArguments) => serve(given));
}
