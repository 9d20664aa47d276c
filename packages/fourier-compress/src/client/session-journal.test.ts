import { generateTokens, type SampledToken } from "@frugal/language-model";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SessionJournalError } from "../errors.ts";
import { FRAME_TYPES } from "../wire/frame.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import { parseSessionJournal, sessionJournal, type JournalEntry, type JournalWriter } from "./session-journal.ts";
import type { SplitClient } from "./split-client.ts";
import { TestBackend } from "./split-client.testing.ts";

const prompt = [1, 8, 21, 40, 3];
const options = { maxNewTokens: 14, temperature: 0.8, topK: 40, seed: 9 };

async function ids(tokens: AsyncIterable<SampledToken>): Promise<number[]> {
  const result: number[] = [];
  for await (const { id } of tokens) result.push(id);
  return result;
}

/** Lines as a file has them. */
class Lines implements JournalWriter {
  text = "";
  write(entry: JournalEntry): void {
    this.text += `${JSON.stringify(entry)}\n`;
  }
}

let backend: TestBackend;
let expected: number[];
beforeEach(async () => {
  backend = await TestBackend.start();
  expected = await ids(generateTokens(tinyModel(), prompt, options));
});
afterEach(() => backend.close());

/** A generation whose process ends after some tokens: its connection breaks, and nothing is closed. */
async function interrupted(tokens: number, settings: Parameters<TestBackend["connect"]>[0] = {}): Promise<Lines> {
  const lines = new Lines();
  const dying = await backend.connect({ reconnect: { attempts: 0 }, ...settings });
  const generation = dying.generate(prompt, { ...options, journal: lines });
  for (let i = 0; i < tokens; i++) await generation.next();
  backend.onReceive = (bytes) => {
    if (bytes[5] === FRAME_TYPES.result) throw new Error("the process has ended");
  };
  await generation.next().catch(() => {});
  backend.onReceive = () => {};
  dying.close();
  return lines;
}

describe("resumeGeneration", () => {
  it.each([0, 1, 2, 7, 13])("goes on after %i tokens as if nothing had happened", async (tokens) => {
    const lines = await interrupted(tokens);
    using client: SplitClient = await backend.connect();
    const journal = parseSessionJournal(lines.text);
    expect(journal.tokens.map(({ id }) => id)).toEqual(expected.slice(0, tokens));
    expect(await ids(client.resumeGeneration(journal, { journal: lines }))).toEqual(expected.slice(tokens));
    expect(client.traffic()).toMatchObject({ resumes: tokens > 0 ? 1 : 0, rebuilds: 0 });
    expect(parseSessionJournal(lines.text)).toMatchObject({ tokens: expected.map((id) => ({ id })), end: "length" });
    expect(await ids(client.resumeGeneration(parseSessionJournal(lines.text)))).toEqual([]);
    // In all: two more than before.
    expect(await ids(client.resumeGeneration(parseSessionJournal(lines.text), { maxNewTokens: 16 }))).toEqual(
      (await ids(generateTokens(tinyModel(), prompt, { ...options, maxNewTokens: 16 }))).slice(14),
    );
  });

  it("finds the session still open where the loop over its tokens was left", async () => {
    const lines = new Lines();
    using client = await backend.connect();
    let seen = 0;
    for await (const _ of client.generate(prompt, { ...options, journal: lines })) if (++seen === 5) break;
    expect(await ids(client.resumeGeneration(parseSessionJournal(lines.text), { journal: lines }))).toEqual(expected.slice(5));
    expect(client.traffic()).toMatchObject({ resumes: 1, rebuilds: 0 });
    // Its end closes it.
    await expect.poll(() => backend.server.statistics().sessions).toBe(0);
  });

  it("takes a token that was on its way when the process ended", async () => {
    const lines = new Lines();
    const dying = await backend.connect({ reconnect: { attempts: 0 } });
    let results = 0;
    backend.onReceive = (bytes) => {
      if (bytes[5] === FRAME_TYPES.result && ++results === 5) throw new Error("the process ends before it reads the fifth token");
    };
    await expect(ids(dying.generate(prompt, { ...options, journal: lines }))).rejects.toThrow("the connection could not be made again");
    backend.onReceive = () => {};
    expect(parseSessionJournal(lines.text).tokens).toHaveLength(4);
    using client = await backend.connect();
    expect(await ids(client.resumeGeneration(parseSessionJournal(lines.text)))).toEqual(expected.slice(4));
    expect(client.traffic()).toMatchObject({ resumes: 1, rebuilds: 0, resentBytes: 0 });
  });

  it("takes a token that comes in one piece with the answer to its request", async () => {
    const lines = await interrupted(5);
    const { transport } = backend;
    using client = await backend.connect({
      transport: async (options) => {
        const connection = await transport(options);
        let next: Promise<Uint8Array | undefined> | undefined;
        return {
          ...connection,
          receive: () => {
            const ready = next;
            next = undefined;
            return ready ?? connection.receive().then(async (bytes) => {
              if (bytes?.[5] !== FRAME_TYPES.resumed) return bytes;
              const result = await connection.receive();
              next = Promise.resolve(result);
              return bytes;
            });
          },
        };
      },
    });
    expect(await ids(client.resumeGeneration(parseSessionJournal(lines.text)))).toEqual(expected.slice(5));
    expect(client.traffic()).toMatchObject({ resumes: 1, rebuilds: 0, resentBytes: 0 });
  });

  it("rebuilds what the server has lost, again and again", async () => {
    const lines = await interrupted(6, { promptChunk: 2 });
    await backend.restart();
    for (const upTo of [9, 12]) {
      const client = await backend.connect({ reconnect: { attempts: 0 }, promptChunk: 2 });
      const journal = parseSessionJournal(lines.text);
      const generation = client.resumeGeneration(journal, { journal: lines });
      for (let i = journal.tokens.length; i < upTo; i++) expect((await generation.next()).value).toMatchObject({ id: expected[i] });
      expect(client.traffic().rebuilds).toBe(1);
      backend.cut();
      client.close();
      await backend.restart();
    }
    using client = await backend.connect();
    const journal = parseSessionJournal(lines.text);
    // In the pieces of the beginning, whatever this client would cut.
    expect(journal.begin.chunks).toEqual([2, 2, 1]);
    expect(await ids(client.resumeGeneration(journal, { journal: lines }))).toEqual(expected.slice(12));
  });

  it("goes on beyond the tokens that the first process asked for", async () => {
    const lines = await interrupted(5);
    using client = await backend.connect();
    const more = await ids(generateTokens(tinyModel(), prompt, { ...options, maxNewTokens: 30 }));
    const journal = parseSessionJournal(lines.text);
    expect(await ids(client.resumeGeneration(journal, { journal: lines, maxNewTokens: 30 }))).toEqual(more.slice(5));
    expect(parseSessionJournal(lines.text)).toMatchObject({ tokens: more.map((id) => ({ id })), end: "length" });
  });

  it("goes on from a journal that has lost its last lines", async () => {
    const { text } = await interrupted(9);
    const lost = `${text.split("\n").slice(0, -4).join("\n")}\n`;
    using client = await backend.connect();
    const journal = parseSessionJournal(lost);
    expect(journal.tokens).toHaveLength(6);
    expect(await ids(client.resumeGeneration(journal))).toEqual(expected.slice(6));
    expect(client.traffic().rebuilds).toBe(1);
  });

  it("leaves a session to the process that took it last, when two go on with it", async () => {
    const lines = new Lines();
    const [first, second] = [await backend.connect(), await backend.connect()];
    const generation = first.generate(prompt, { ...options, journal: lines });
    for (let i = 0; i < 3; i++) await generation.next();
    const journal = parseSessionJournal(lines.text);
    const [earlier, later] = await Promise.allSettled([ids(generation), ids(second.resumeGeneration(journal))]);
    expect(earlier).toMatchObject({ status: "rejected", reason: { name: "SessionLostError" } });
    expect(later).toEqual({ status: "fulfilled", value: expected.slice(3) });
    expect(first.traffic().resumes + second.traffic().resumes).toBeLessThan(10);
    for (const client of [first, second]) client.close();
  });

  it("stops without an error when it is told to, however early", async () => {
    const lines = await interrupted(6);
    using client = await backend.connect();
    const journal = parseSessionJournal(lines.text);
    expect(await ids(client.resumeGeneration(journal, { journal: lines, signal: AbortSignal.abort() }))).toEqual([]);
    expect(await ids(client.resumeGeneration(journal, { journal: lines }))).toEqual(expected.slice(6));
  });

  it("refuses a journal of something else", async () => {
    const { text } = await interrupted(2);
    using other = await backend.connect({ codec: { name: "float16" } });
    await expect(other.resumeGeneration(parseSessionJournal(text)).next()).rejects.toThrow(`the journal's codec is "float32"`);
    using client = await backend.connect();
    const journal = parseSessionJournal(text);
    const stranger = { ...journal, begin: { ...journal.begin, fingerprint: "0".repeat(64) } };
    await expect(client.resumeGeneration(stranger).next()).rejects.toThrow(SessionJournalError);
  });
});

describe("parseSessionJournal", () => {
  it("leaves out a line that was cut short, and nothing else", async () => {
    const { text } = await interrupted(3);
    expect(parseSessionJournal(`${text}{"kind":"tok`).tokens).toHaveLength(3);
    // Complete but for its line break: it may be a number whose last digits are missing.
    expect(parseSessionJournal(text.slice(0, -1)).tokens).toHaveLength(2);
    expect(() => parseSessionJournal(`{"kind":"tok\n${text}`)).toThrow("line 1 of the journal is not JSON");
    expect(() => parseSessionJournal("")).toThrow("the journal is empty");
  });

  it("refuses entries that make no journal", async () => {
    const entries = (await interrupted(2)).text.split("\n").slice(0, -1).map((line) => JSON.parse(line) as Record<string, unknown>);
    const [begin, session, token] = entries;
    expect(() => sessionJournal([session])).toThrow("entry 1 of the journal: session is not due");
    expect(() => sessionJournal([begin, begin])).toThrow("entry 2 of the journal: begin is not due");
    expect(() => sessionJournal([begin, token])).toThrow("tokens, but no session");
    expect(() => sessionJournal([{ ...begin, chunks: [4] }])).toThrow("5 tokens in chunks of 4");
    expect(() => sessionJournal([{ ...begin, version: 2 }])).toThrow("entry 1");
    expect(() => sessionJournal([begin, { ...session, secret: "no" }])).toThrow("entry 2");
    expect(() => sessionJournal([begin, { ...session, skipped: 3 }])).toThrow("skips 3 messages");
    expect(() => sessionJournal([begin, session, { kind: "token", id: -1 }])).toThrow("entry 3");
  });
});
