import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CommandProcess, startServer } from "../split-processes.testing.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fourier-compress-"));
  await writeFile(join(folder, "no.pem"), "not a certificate");
  await writeFile(join(folder, "token"), "read me\n");
});
afterAll(() => rm(folder, { recursive: true }));

describe("serve", () => {
  it("says in a line what is wrong with its options, before it loads a model", async () => {
    const [pem, token] = [join(folder, "no.pem"), join(folder, "token")];
    const wrong: [args: string[], complaint: RegExp][] = [
      [["--port", "65536"], /Give an integer from 0 to 65535/],
      [["--tls-cert", pem, "--tls-key", pem], /no PEM pair/],
      [["--tls-cert", pem], /--tls-cert and --tls-key together/],
      [["--metrics-token-file", token, "--no-metrics"], /--no-metrics goes without a token/],
      [["--token-env", "NOT_SET_ANYWHERE"], /the token is empty: environment variable NOT_SET_ANYWHERE/],
    ];
    for (const [args, complaint] of wrong) {
      const { status, stdout, stderr } = await new CommandProcess(["serve", "--model", "stories15M", ...args]).ended;
      expect(stderr).toMatch(complaint);
      expect(stderr).not.toMatch(/^ {4}at /m);
      expect([status, stdout]).toEqual([1, ""]);
    }
  });

  it("shows its metrics to whoever has the token for them, and ends in order", async () => {
    const { port, process } = await startServer(["--metrics-token-file", join(folder, "token")]);
    const metrics = (headers: { readonly [name: string]: string }): Promise<Response> =>
      fetch(`http://127.0.0.1:${port}/metrics`, { headers });
    expect((await metrics({})).status).toBe(401);
    expect(await (await metrics({ authorization: "Bearer read me" })).text()).toContain("fourier_compress_sessions 0");
    expect(await process.end("SIGTERM")).toMatchObject({ status: 0, signal: null });
  });
});
