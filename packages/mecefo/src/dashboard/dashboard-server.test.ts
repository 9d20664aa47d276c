import { request, type IncomingHttpHeaders } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { fabricatedJob, fabricateEpoch, fabricateRun, fabricateStep } from "../report/run-events.testing.ts";
import { hostnameOf, isLoopback } from "./access.ts";
import { startDashboard, type Dashboard, type DashboardFault, type DashboardOptions } from "./dashboard-server.ts";
import { pageScript } from "./page-script.ts";
import type { CurveUpdate, Picture } from "./run-picture.ts";

const TOKEN = "0123456789abcdef-secret";
const open: Dashboard[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((dashboard) => dashboard.close()));
});

async function start(options: Partial<DashboardOptions> = {}): Promise<Dashboard & { readonly origin: string }> {
  const dashboard = await startDashboard({ port: 0, job: fabricatedJob, ...options });
  open.push(dashboard);
  return Object.assign(dashboard, { origin: new URL(dashboard.url).origin });
}

interface Answer { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: string }

/** A request with whatever headers; fetch would not send a false Host. */
function ask(url: string, headers: Record<string, string> = {}, method: string = "GET", body: string = ""): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      const { statusCode, headers: answered } = response;
      response.on("end", () => resolve({ status: statusCode!, headers: answered, body: Buffer.concat(chunks).toString() }));
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

/** Listens to /events. */
async function* pictures(origin: string, headers: Record<string, string> = {}): AsyncGenerator<Picture & { readonly curve: CurveUpdate }> {
  const response = await fetch(`${origin}/events`, { headers });
  let text = "";
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
      const data = /^event: picture\ndata: (.*)$/m.exec(text.slice(0, end))?.[1];
      text = text.slice(end + 2);
      if (data !== undefined) yield JSON.parse(data) as Picture & { readonly curve: CurveUpdate };
    }
  }
}

describe("who may see the dashboard", () => {
  it("is everybody on this machine, and nobody under another name", async () => {
    const { origin } = await start();
    const page = await ask(`${origin}/`);
    expect(page.status).toBe(200);
    expect(page.headers["content-security-policy"]).toContain("default-src 'none'");
    expect(page.body).toContain("<title>fabricated · MeCeFO</title>");
    expect(page.body).not.toContain("data-fault");
    for (const host of ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]", "a b"]) {
      expect((await ask(`${origin}/metrics`, { host })).status, host).toBe(421);
    }
    expect((await ask(`${origin}/`, { host: "localhost:9000" })).status).toBe(200);
    expect((await ask(`${origin}/nothing`)).status).toBe(404);
    expect((await ask(`${origin}/`, {}, "PUT")).status).toBe(405);
    expect((await ask(`${origin}/healthz`)).body).toBe("ok\n");
  });

  it("is refused to other machines without a token, or with one that can be guessed", async () => {
    await expect(startDashboard({ port: 0, host: "0.0.0.0", job: fabricatedJob })).rejects.toThrow(SettingsError);
    await expect(startDashboard({ port: 0, host: "::", job: fabricatedJob })).rejects.toThrow("give a token");
    await expect(startDashboard({ port: 0, token: "short", job: fabricatedJob })).rejects.toThrow("has 5 characters");
    await expect(startDashboard({ port: 70_000, job: fabricatedJob })).rejects.toThrow("port 70000");
    expect(["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"].every(isLoopback)).toBe(true);
    expect(["0.0.0.0", "::", "127.0.0.1.example", "example", "127.1.example", "10.0.0.1"].some(isLoopback)).toBe(false);
    expect([hostnameOf("[::1]:80"), hostnameOf("a:1"), hostnameOf("a:b"), hostnameOf(""), hostnameOf(undefined)]).toEqual([
      "[::1]", "a", undefined, undefined, undefined,
    ]);
  });

  it("is whoever has the token, by header, by address, then by cookie", async () => {
    const { origin, url } = await start({ token: TOKEN, host: "0.0.0.0" });
    expect(url).toContain(`?token=${TOKEN}`);
    const local = origin.replace("0.0.0.0", "127.0.0.1");
    for (const path of ["/", "/events", "/metrics", "/page.js", `/?token=${TOKEN}x`, `/metrics?token=${TOKEN}`]) {
      expect((await ask(`${local}${path}`)).status, path).toBe(401);
    }
    expect((await ask(`${local}/healthz`)).status).toBe(200);
    expect((await ask(`${local}/metrics`, { authorization: `Bearer ${TOKEN}x` })).status).toBe(401);
    expect((await ask(`${local}/metrics`, { authorization: `Bearer ${TOKEN}` })).status).toBe(200);
    const first = await ask(`${local}/?token=${TOKEN}`);
    expect([first.status, first.headers.location]).toEqual([303, "/"]);
    const cookie = first.headers["set-cookie"]![0]!;
    expect(cookie).toMatch(/HttpOnly; SameSite=Strict/);
    expect(cookie).not.toContain(TOKEN);
    expect((await ask(`${local}/`, { cookie: `other=1; ${cookie.split(";")[0]!}` })).status).toBe(200);
    expect((await ask(`${local}/`, { cookie: `${cookie.split("=")[0]!}=wrong` })).status).toBe(401);
  });
});

describe("faults from the page", () => {
  const json = { "content-type": "application/json" };
  async function ready(options: Partial<DashboardOptions> = {}): Promise<{ readonly origin: string; readonly calls: string[] }> {
    const calls: string[] = [];
    const dashboard = await start({
      inject: async (slot: string, fault: DashboardFault) => {
        if (fault === "corrupt") throw new Error("no such worker");
        calls.push(`${fault} ${slot}`);
      },
      ...options,
    });
    dashboard.publish(fabricateEpoch(fabricatedJob, 1, 0, ["p0s1"]));
    return { origin: dashboard.origin, calls };
  }
  const fault = (slot: string, name: string): string => JSON.stringify({ slot, fault: name });

  it("reach the worker when they come from the page", async () => {
    const { origin, calls } = await ready();
    expect((await ask(`${origin}/`)).body).toContain('data-fault="kill"');
    const answer = await ask(`${origin}/api/fault`, { ...json, origin }, "POST", fault("p0s0", "kill"));
    expect([answer.status, calls]).toEqual([202, ["kill p0s0"]]);
  });

  it("are refused from elsewhere and when they make no sense", async () => {
    const { origin, calls } = await ready({ faults: ["kill", "corrupt"] });
    const post = async (headers: Record<string, string>, body: string): Promise<number> =>
      (await ask(`${origin}/api/fault`, headers, "POST", body)).status;
    const kill = fault("p0s0", "kill");
    expect(await post(json, kill)).toBe(403);
    expect(await post({ ...json, origin: "http://evil.example" }, kill)).toBe(403);
    expect(await post({ ...json, origin: "null" }, kill)).toBe(403);
    expect(await post({ ...json, origin, "sec-fetch-site": "cross-site" }, kill)).toBe(403);
    expect(await post({ ...json, origin: "http://evil.example", host: "evil.example" }, kill)).toBe(421);
    expect(await post({ origin, "content-type": "text/plain" }, kill)).toBe(415);
    expect(await post({ ...json, origin }, "{")).toBe(400);
    expect(await post({ ...json, origin }, fault("p0s0", "explode"))).toBe(400);
    expect(await post({ ...json, origin }, fault("../x", "kill"))).toBe(400);
    expect(await post({ ...json, origin }, fault("p0s0", "stop"))).toBe(403);
    expect(await post({ ...json, origin }, fault("p9s0", "kill"))).toBe(404);
    expect(await post({ ...json, origin }, fault("p0s1", "kill"))).toBe(409);
    expect(await post({ ...json, origin }, fault("p0s0", "corrupt"))).toBe(502);
    expect(await post({ ...json, origin }, " ".repeat(1025))).toBe(413);
    expect(await post({ ...json, origin, "transfer-encoding": "chunked" }, " ".repeat(5000))).toBe(413);
    expect(calls).toEqual([]);
    const { origin: still } = await start();
    expect((await ask(`${still}/api/fault`, { ...json, origin: still }, "POST", kill)).status).toBe(403);
  });

  it("need the token where there is one; a bearer needs no origin, a cookie does", async () => {
    const { origin, calls } = await ready({ token: TOKEN });
    const post = async (headers: Record<string, string>): Promise<number> =>
      (await ask(`${origin}/api/fault`, { ...json, ...headers }, "POST", fault("p0s0", "kill"))).status;
    expect(await post({ origin })).toBe(401);
    expect(await post({ authorization: `Bearer ${TOKEN}` })).toBe(202);
    const cookie = (await ask(`${origin}/?token=${TOKEN}`)).headers["set-cookie"]![0]!.split(";")[0]!;
    expect(await post({ cookie })).toBe(403);
    expect(await post({ cookie, origin })).toBe(202);
    expect(calls.length).toBe(2);
  });
});

describe("what the dashboard tells", () => {
  it("replays the picture to newcomers and goes on from there", async () => {
    const dashboard = await start();
    dashboard.publish(fabricateEpoch(fabricatedJob, 1, 0, []));
    dashboard.publish(fabricateStep(fabricatedJob, 1, 0));
    const stream = pictures(dashboard.origin);
    const first = (await stream.next()).value!;
    expect(first).toMatchObject({ name: "fabricated", epoch: 1, step: 1, outcome: "training", mixerPipelines: [2, 2, 2, 2] });
    expect(first.curve.all).toHaveLength(1);
    dashboard.publish(fabricateEpoch(fabricatedJob, 2, 1, ["p0s1"]));
    const second = (await stream.next()).value!;
    expect(second.outcome).toBe("healing");
    expect(second.cells[1]).toMatchObject({ slot: "p0s1", state: "failed", hostedBy: "p0s2" });
    expect(second.cells[2]).toMatchObject({ slot: "p0s2", state: "healing" });
    dashboard.publish(fabricateStep(fabricatedJob, 2, 1, { busy: [{ slot: "p0s0", busy: 5, waiting: 6, allReduce: 7 }] }));
    const third = (await stream.next()).value!;
    expect(third.cells[0]).toMatchObject({ state: "healthy", busy: 5, waiting: 6, allReduce: 7 });
    expect(third.cells[2]!.state).toBe("neighbour");
    expect(third.curve).toEqual({ added: [[1, expect.any(Number), 10_240, 1, null]] });
    // Weights go back: the curve is begun again from there.
    dashboard.publish(fabricateEpoch(fabricatedJob, 3, 0, [], { cause: "stage-lost" }));
    const fourth = (await stream.next()).value!;
    expect([fourth.step, fourth.tokens, fourth.curve]).toEqual([0, 0, { all: [] }]);
    await dashboard.close();
    expect((await stream.next()).done).toBe(true);
  });

  it("keeps long runs in bounded memory", async () => {
    const dashboard = await start();
    const job = { ...fabricatedJob, steps: 9000 };
    for (const event of fabricateRun(job, [])) dashboard.publish(event);
    const { value } = await pictures(dashboard.origin).next();
    expect(value!.curve.all!.length).toBeLessThanOrEqual(2000);
    expect(value!.curve.all!.length).toBeGreaterThan(900);
    expect(value!).toMatchObject({ step: 9000, outcome: "finished", tokens: 9000 * 1024 });
  });

  it("counts for Prometheus", async () => {
    const dashboard = await start();
    const failures = [{ slot: "p0s1", from: 5, to: 9 }, { slot: "p1s3", from: 15, to: 99, cause: "stopped" }] as const;
    for (const event of fabricateRun(fabricatedJob, failures)) dashboard.publish(event);
    const { body, headers } = await ask(`${dashboard.origin}/metrics`);
    expect(headers["content-type"]).toContain("version=0.0.4");
    for (const line of [
      "mecefo_epoch 4", "mecefo_step 19", "mecefo_steps_total 20", "mecefo_tokens_total 20480", 'mecefo_members{mode="failed"} 1',
      'mecefo_members{mode="neighbour"} 1', 'mecefo_members{mode="healthy"} 6', "mecefo_mixer_pipelines_min 1",
      'mecefo_mixer_pipelines{stage="3"} 1',
      'mecefo_recoveries_total{cause="killed"} 1', 'mecefo_recoveries_total{cause="stopped"} 1', 'mecefo_epochs_total{cause="joined"} 1',
      "mecefo_recovery_seconds_count 4", `mecefo_transferred_bytes_total ${3 * 4_812_032}`, 'mecefo_faults_total{fault="kill"} 1',
      "mecefo_step_seconds_count 20",
    ]) expect(body.split("\n"), line).toContain(line);
    expect(body).toMatch(/mecefo_captured_energy\{matrix="up"\} 0\.\d+/);
    expect(body).toMatch(/^mecefo_loss \d/m);
  });

  it("has a script that parses, and puts no text in as HTML", () => {
    expect(() => new Function(pageScript)).not.toThrow();
    expect(pageScript).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(/);
  });
});
