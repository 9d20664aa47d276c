import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseSessionJournal } from "./client/session-journal.ts";
import {
  CommandProcess, cutSockets, generated, killClients, killServers, resumeClient, startClient, startServer, unsplitTokens, untilJournalled,
  type ServerProcess,
} from "./split-processes.testing.ts";

const greedy = { maxNewTokens: 60 };
const sampled = { maxNewTokens: 90, temperature: 0.9, topP: 0.95, seed: 4 };
const raw = ["--codec", "float32"];
const lossy = ["--codec", "hadamard", "--ratio", "5"];

let folder: string;
let server: ServerProcess;
let expected: number[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fourier-compress-"));
  [server, expected] = [await startServer(), await unsplitTokens(sampled)];
});
afterAll(async () => {
  await server.process.end("SIGKILL");
  await rm(folder, { recursive: true });
});
const journal = (name: string): string => join(folder, name);

describe("a server and a client in two processes", () => {
  it("generate the tokens of the unsplit model through the raw codec, wherever they are chosen", async () => {
    const through = generated(await startClient(server.url, greedy, raw).ended);
    expect(through.tokenIds).toEqual(await unsplitTokens(greedy));
    expect(through.traffic).toMatchObject({ messages: 60, tokens: 64, elementRatio: 1, relativeError: 0, resumes: 0, rebuilds: 0 });
    expect(generated(await startClient(server.url, sampled, raw).ended).tokenIds).toEqual(expected);
    const hidden = generated(await startClient(server.url, sampled, [...raw, "--result", "hidden"]).ended);
    expect(hidden.tokenIds).toEqual(expected);
  });

  it("go on with the same tokens after kill -9 of the client", async () => {
    const path = journal("killed-client");
    const result = await killClients({ server, settings: sampled, codec: raw, journal: path, at: [7, 31] });
    expect(result.tokenIds).toEqual(expected);
    expect(result.disturbedAt.every((tokens) => tokens < expected.length)).toBe(true);
    expect(result.resumedTokens).toBe(result.disturbedAt.at(-1));
    // The server still had the session: nothing of the past was sent again.
    expect(result.traffic).toMatchObject({ resumes: 1, rebuilds: 0 });
    expect(result.traffic.tokens).toBeLessThanOrEqual(expected.length - result.resumedTokens);
    expect((await stat(path)).mode & 0o077).toBe(0);
  });

  it("go on with the same tokens when the socket is cut", async () => {
    const scene = { server, settings: sampled, codec: raw, journal: journal("cut"), at: [3, 20, 21, 55] };
    const result = await cutSockets(scene);
    expect(result.tokenIds).toEqual(expected);
    expect(result.traffic.resumes).toBeGreaterThanOrEqual(3);
    expect(result.traffic.rebuilds).toBe(0);
  });

  it("go on with the same tokens after kill -9 of the server", async () => {
    const result = await killServers({ server, settings: sampled, codec: raw, journal: journal("killed-server"), at: [12, 40] });
    ({ server } = result);
    expect(result.tokenIds).toEqual(expected);
    expect(result.traffic.rebuilds).toBe(2);
  });

  it("do the same through a codec that loses something", async () => {
    const undisturbed = generated(await startClient(server.url, sampled, lossy).ended);
    expect(undisturbed.tokenIds).not.toEqual(expected);
    expect(undisturbed.traffic.relativeError).toBeGreaterThan(0.01);
    const path = journal("lossy");
    const client = startClient(server.url, sampled, [...lossy, "--journal", path]);
    await untilJournalled(client, path, 15);
    await client.end("SIGKILL");
    const { port } = server;
    await server.process.end("SIGKILL");
    server = await startServer(["--port", String(port)]);
    const resumed = generated(await resumeClient(server.url, path).ended);
    expect(resumed.tokenIds).toEqual(undisturbed.tokenIds);
    expect(resumed.traffic.rebuilds).toBe(1);
    expect(parseSessionJournal(await readFile(path, "utf8")).end).toBeDefined();
  });

  it("keep a conversation on the server", async () => {
    const chat = new CommandProcess(
      ["chat", "--model", "stories15M", "--server", server.url, ...raw, "--max-new-tokens", "6", "--temperature", "0", "--json"],
      { input: "Once upon a time\n and then he\n" },
    );
    const { status, stdout } = await chat.ended;
    const [first, second, last] = stdout.trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(status).toBe(0);
    expect(first).toMatchObject({ answer: ", there was a little girl", tokens: 6, sentTokens: 5 + 5 });
    // The last token of the first answer goes with the second turn's.
    expect(second).toMatchObject({ tokens: 6, sentTokens: 1 + 4 + 5 });
    expect(last).toMatchObject({ conversation: 5 + 6 + 4 + 6 });
  });

  it("ends in good order, and says what is wrong in one line", async () => {
    const secret = join(folder, "secret");
    await writeFile(secret, "open sesame\n");
    const guarded = await startServer(["--http2", "--secret-env", "SPLIT_SECRET"], { SPLIT_SECRET: "open sesame" });
    expect(guarded.url).toMatch(/^http:/);
    const refused = await startClient(guarded.url, { maxNewTokens: 3 }, raw).ended;
    expect([refused.status, refused.stderr]).toEqual([1, "fourier-compress: the server asks for credentials of hmac; none are given\n"]);
    const wrong = await startClient(guarded.url, { maxNewTokens: 3 }, [...raw, "--token-file", secret]).ended;
    expect(wrong.status).toBe(1);
    const right = generated(await startClient(guarded.url, { maxNewTokens: 3 }, [...raw, "--secret-file", secret]).ended);
    expect(right.tokenIds).toHaveLength(3);
    expect((await guarded.process.end("SIGTERM")).status).toBe(0);
    const nobody = await startClient(guarded.url, { maxNewTokens: 3 }, raw).ended;
    expect(nobody.status).toBe(1);
    expect(nobody.stderr.split("\n")).toHaveLength(2);
  });
});
