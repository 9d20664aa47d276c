/** A server and clients as processes of their own, and what can happen to them: for tests and for `verify`. */
import { spawn, type ChildProcess } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { generateTokens, loadLlamaTokenizer, loadModel, openStories15m, type SamplingOptions } from "@frugal/language-model";
import { parseSessionJournal } from "./client/session-journal.ts";
import type { ClientTraffic } from "./client/traffic.ts";
import { cuttingProxy } from "./transport/cutting-proxy.testing.ts";

const COMMAND = join(import.meta.dirname, "cli.ts");
const MODEL = "stories15M";
const PROMPT = "Once upon a time";
/** Milliseconds that a process may take to come up, or to come to its end. */
const PATIENCE = 90_000;

/** How a process ended. */
export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A `fourier-compress` command on its way. */
export class CommandProcess {
  readonly #child: ChildProcess;
  readonly ended: Promise<Outcome>;
  stdout = "";
  stderr = "";
  hasEnded = false;

  /** @param input what it reads on stdin; nothing when left out */
  constructor(args: readonly string[], { environment = {}, input }: {
    readonly environment?: { readonly [name: string]: string }; readonly input?: string;
  } = {}) {
    const child = spawn(process.execPath, [COMMAND, ...args], {
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"], env: { ...process.env, ...environment },
    });
    this.#child = child;
    child.stdin?.end(input);
    child.stdout!.setEncoding("utf8").on("data", (text: string) => (this.stdout += text));
    child.stderr!.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    this.ended = new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (status, signal) => {
        this.hasEnded = true;
        resolve({ status, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<Outcome> {
    this.#child.kill(signal);
    return await this.ended;
  }
}

/** Waits until something is so. @throws Error when it takes too long, or the process that should make it so has ended */
async function until(what: string, maker: CommandProcess, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE;
  while (!(await isSo())) {
    if (maker.hasEnded) throw new Error(`the process ended before ${what}: ${maker.stderr || maker.stdout}`);
    if (performance.now() > deadline) {
      await maker.end("SIGKILL");
      throw new Error(`${what} did not come: ${maker.stderr}`);
    }
    await wait(2);
  }
}

/** A server that is up. */
export interface ServerProcess {
  readonly url: string;
  readonly port: number;
  readonly process: CommandProcess;
}

/** Starts `serve` for stories15M and waits until it listens. */
export async function startServer(
  args: readonly string[] = [], environment: { readonly [name: string]: string } = {},
): Promise<ServerProcess> {
  const server = new CommandProcess(["serve", "--model", MODEL, "--json", "--log", "json", ...args], { environment });
  await until("the server's address", server, () => server.stdout.includes("\n"));
  const { url, port } = JSON.parse(server.stdout) as { readonly url: string; readonly port: number };
  return { url, port, process: server };
}

/** What `generate --json` prints, as far as it is looked at. */
export interface Generated {
  readonly tokenIds: readonly number[];
  readonly text: string;
  readonly resumedTokens: number;
  readonly traffic: ClientTraffic;
}

/** @throws Error when the command failed */
export function generated({ status, stdout, stderr }: Outcome): Generated {
  if (status !== 0) throw new Error(`generate ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as Generated;
}

/** What is generated: the same for the whole model and for a split one. */
export interface GenerationSettings extends Pick<SamplingOptions, "temperature" | "topP" | "seed"> {
  readonly maxNewTokens: number;
}

function optionsOf({ maxNewTokens, temperature, topP, seed }: GenerationSettings): string[] {
  const values = { "--max-new-tokens": maxNewTokens, "--temperature": temperature, "--top-p": topP, "--seed": seed };
  return Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [name, String(value)]));
}

/** `generate --json` for a server. */
export function startClient(url: string, settings: GenerationSettings, args: readonly string[] = []): CommandProcess {
  const base = ["generate", "--model", MODEL, "--server", url, "--prompt", PROMPT, "--json"];
  return new CommandProcess([...base, ...optionsOf(settings), ...args]);
}

/** `generate --resume` for a server. */
export function resumeClient(url: string, journal: string): CommandProcess {
  return new CommandProcess(["generate", "--model", MODEL, "--server", url, "--resume", journal, "--json"]);
}

/** The tokens of the unsplit model, in this process. */
export async function unsplitTokens(settings: GenerationSettings): Promise<number[]> {
  const source = await openStories15m();
  using model = await loadModel(source);
  await source.close();
  const tokenizer = await loadLlamaTokenizer();
  const ids: number[] = [];
  const stopTokenIds = [...new Set([...model.config.eosTokenIds, ...tokenizer.eosTokenIds])];
  for await (const { id } of generateTokens(model, tokenizer.encode(PROMPT), { ...settings, stopTokenIds })) ids.push(id);
  return ids;
}

/** Tokens that a journal holds; 0 while there is none. */
async function journalled(path: string): Promise<number> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.includes("\n") ? parseSessionJournal(text).tokens.length : 0;
}

/** Waits until a client has written down so many tokens. */
export async function untilJournalled(client: CommandProcess, path: string, tokens: number): Promise<void> {
  await until(`token ${tokens}`, client, async () => (await journalled(path)) >= tokens);
}

/** What a disturbed generation came to. */
export interface Disturbed extends Generated {
  /** Tokens that were there when the disturbance came, in order. */
  readonly disturbedAt: readonly number[];
}

/** Where a disturbance happens. */
interface Scene {
  readonly server: ServerProcess;
  readonly settings: GenerationSettings;
  readonly codec: readonly string[];
  /** A file that is not there yet. */
  readonly journal: string;
  /** Tokens after which to disturb. */
  readonly at: readonly number[];
}

/** SIGKILL for the client, and another process that goes on from its journal; again for every further place. */
export async function killClients({ server, settings, codec, journal, at }: Scene): Promise<Disturbed> {
  const disturbedAt: number[] = [];
  let client = startClient(server.url, settings, [...codec, "--journal", journal]);
  for (const tokens of at) {
    await untilJournalled(client, journal, tokens);
    const { signal } = await client.end("SIGKILL");
    if (signal !== "SIGKILL") throw new Error(`the client was not killed but ended with ${client.stderr || client.stdout}`);
    disturbedAt.push(await journalled(journal));
    client = resumeClient(server.url, journal);
  }
  return { ...generated(await client.ended), disturbedAt };
}

/** Breaks the client's socket, several times, by a proxy that drops everything. */
export async function cutSockets({ server, settings, codec, journal, at }: Scene): Promise<Disturbed> {
  const proxy = await cuttingProxy(server.port);
  try {
    const disturbedAt: number[] = [];
    const client = startClient(`ws://127.0.0.1:${proxy.port}/`, settings, [...codec, "--journal", journal]);
    for (const tokens of at) {
      await untilJournalled(client, journal, tokens);
      proxy.cut();
      disturbedAt.push(await journalled(journal));
    }
    return { ...generated(await client.ended), disturbedAt };
  } finally {
    proxy.close();
  }
}

/** SIGKILL for the server, and a new one on the same port. The scene's server is replaced by the one that is returned. */
export async function killServers(
  { settings, codec, journal, at, ...scene }: Scene, args: readonly string[] = [],
): Promise<Disturbed & { readonly server: ServerProcess }> {
  let { server } = scene;
  const disturbedAt: number[] = [];
  const client = startClient(server.url, settings, [...codec, "--journal", journal, "--reconnect", "40"]);
  for (const tokens of at) {
    await untilJournalled(client, journal, tokens);
    await server.process.end("SIGKILL");
    disturbedAt.push(await journalled(journal));
    server = await startServer(["--port", String(server.port), ...args]);
  }
  return { ...generated(await client.ended), disturbedAt, server };
}
