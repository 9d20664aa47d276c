/**
 * Starts the whole app and uses its page as a visitor would, in a tab of the browser that runs the tests. Runs in Node, at a test's
 * command.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { startSplitChat } from "./server/split-chat-server.ts";

/** What a visitor saw. */
export interface Visit {
  readonly halves: readonly string[];
  /** The story that was written with each codec, the prompt and the marks of cuts included. */
  readonly stories: readonly { readonly codec: string; readonly text: string; readonly figures: { readonly [id: string]: string } }[];
  /** Rows of the list of stories, the newest first. */
  readonly rows: readonly (readonly string[])[];
  readonly log: readonly string[];
  /** Errors of the page: exceptions, and what it refused to load. */
  readonly errors: readonly string[];
  readonly isIsolated: boolean;
  readonly weightBytes: number;
  readonly metrics: string;
  readonly sessionsLeft: number;
}

/** What a visitor does. */
export interface VisitPlan {
  readonly prompt: string;
  readonly tokens: number;
  readonly codecs: readonly { readonly name: string; readonly ratio?: string; readonly cutsConnection?: boolean }[];
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function writeStory(
  page: Page, { prompt, tokens }: VisitPlan, { name, ratio, cutsConnection = false }: VisitPlan["codecs"][number],
): Promise<void> {
  const rows = await page.locator("#runs tbody tr:not(.placeholder)").count();
  await page.getByLabel("Beginning").fill(prompt);
  await page.getByLabel("Codec").selectOption(name);
  if (ratio !== undefined) await page.getByLabel("Rate").selectOption(ratio);
  await page.getByLabel("Tokens", { exact: true }).fill(String(tokens));
  await page.getByRole("button", { name: "Write" }).click();
  if (cutsConnection) {
    await page.waitForFunction((length) => document.querySelector("#story")!.textContent.length > length, prompt.length + 20);
    await page.getByRole("button", { name: "Cut the connection" }).click();
    await page.locator("#story .mark").waitFor({ timeout: 30_000 });
  }
  await page.locator("#runs tbody tr:not(.placeholder)").nth(rows).waitFor({ timeout: 90_000 });
}

/** @param command the test's own: the visitor takes a tab of its browser, apart from the test's */
export async function driveSplitChat(plan: VisitPlan, command: { readonly context: BrowserContext }): Promise<Visit> {
  const tableFolder = await mkdtemp(join(tmpdir(), "split-chat-"));
  const app = await startSplitChat({ port: await freePort(), tableFolder, calibrationStories: 6 });
  const context = await command.context.browser()!.newContext();
  try {
    const page = await context.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(message.text());
    });
    let weightBytes = 0;
    page.on("response", (response) => {
      if (response.url().includes("/model/")) weightBytes += Number(response.headers()["content-length"]);
    });
    await page.goto(app.url);
    await page.locator("#write:enabled").waitFor({ timeout: 60_000 });
    const texts = async (selector: string): Promise<string[]> => await page.locator(selector).allTextContents();
    const halves = await texts(".halves span");
    const stories: Visit["stories"][number][] = [];
    for (const codec of plan.codecs) {
      await writeStory(page, plan, codec);
      const text = (await texts("#story")).join("");
      const ids = ["bytes-sent", "bytes-float16", "figure-ratio16", "figure-ratio32", "figure-error", "figure-connections"];
      const figures = Object.fromEntries(await Promise.all(ids.map(async (id) => [id, (await texts(`#${id}`)).join("")] as const)));
      stories.push({ codec: codec.name, text, figures });
    }
    const rows = await page.locator("#runs tbody tr").evaluateAll((all) =>
      all.map((row) => [...(row as HTMLTableRowElement).cells].map((cell) => cell.textContent)),
    );
    const log = await texts("#log span");
    const isIsolated = await page.evaluate(() => crossOriginIsolated);
    const metrics = await (await fetch(`${app.url}metrics`)).text();
    await page.close();
    return { halves, stories, rows, log, errors, isIsolated, weightBytes, metrics, sessionsLeft: app.statistics().sessions };
  } finally {
    await context.close();
    await app.close();
    await rm(tableFolder, { recursive: true });
  }
}
