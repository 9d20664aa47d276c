import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Tokenizer } from "@frugal/language-model";
import { createByteTokenizer } from "@frugal/language-model";
import { EvaluationDataError } from "../errors.ts";
import { sharedData } from "../shared-data.testing.ts";
import { choiceSequences, parseQuestions, questionPrompt, readQuestions } from "./questions.ts";
import { cutTokens, readTokenSequences } from "./token-sequences.ts";

const question = { question: "Is it?", choices: ["yes", "no way"], answer: 1 };

describe("parseQuestions", () => {
  it("reads a question a line", () => {
    const jsonl = `${JSON.stringify(question)}\n\n${JSON.stringify({ ...question, id: "x", context: "Once." })}\n`;
    expect(parseQuestions(jsonl, "mine")).toEqual([{ ...question, id: "mine-0" }, { ...question, id: "x", context: "Once." }]);
  });

  it.each([
    ["what is no JSON", "{", "mine:1 is not JSON"],
    ["an answer without choice", JSON.stringify({ ...question, answer: 2 }), "answer is not the index of a choice"],
    ["one choice", JSON.stringify({ ...question, choices: ["a"], answer: 0 }), "choices"],
    ["other types", JSON.stringify({ ...question, question: 3 }), "question"],
    ["nothing", "\n", "no questions"],
  ])("refuses %s", (_, jsonl, message) => {
    expect(() => parseQuestions(jsonl, "mine")).toThrow(EvaluationDataError);
    expect(() => parseQuestions(jsonl, "mine")).toThrow(message);
  });

  const shared = sharedData("commonsense10");
  it.skipIf(shared === undefined)("reads the commonsense sets", async () => {
    const files = readdirSync(shared!).filter((file) => file.endsWith(".jsonl"));
    expect(files.length).toBe(7);
    for (const file of files) expect((await readQuestions(join(shared!, file))).questions.length).toBe(400);
  });
});

describe("choiceSequences", () => {
  it("begins a choice where its ids part from the question's", () => {
    const tokenizer = createByteTokenizer();
    const prompt = questionPrompt({ ...question, id: "q" });
    expect(prompt).toBe("Question: Is it?\nAnswer:");
    const sequences = choiceSequences({ ...question, id: "q" }, tokenizer);
    expect(sequences.map(({ ids, from }) => tokenizer.decode(ids.slice(from)))).toEqual([" yes", " no way"]);
    expect(sequences.map(({ ids }) => tokenizer.decode(ids))).toEqual([`${prompt} yes`, `${prompt} no way`]);
  });

  it("leaves tokens that span the seam to the choice", () => {
    // ":" alone is 9, ": y" is one token, 8.
    const encode = (text: string): number[] => (text.endsWith(":") ? [1, 5, 9] : [1, 5, 8, 4]);
    const sequences = choiceSequences({ ...question, id: "q" }, { encode } as unknown as Tokenizer);
    expect(sequences[0]).toEqual({ ids: [1, 5, 8, 4], from: 2 });
  });
});

describe("token sequences", () => {
  it("cuts a text, each piece begun anew", () => {
    expect(cutTokens([1, 5, 6, 7, 8, 9], 3, 1)).toEqual([[1, 5, 6], [1, 7, 8], [1, 9]]);
    expect(cutTokens([5, 6, 7], 2, undefined)).toEqual([[5, 6]]);
  });

  const shared = sharedData("stories15M", "sampled-stories.json");
  it.skipIf(shared === undefined)("reads the sampled stories", async () => {
    const { calibration, test } = await readTokenSequences(shared!);
    expect([calibration.length, test.length]).toEqual([30, 20]);
  });

  it("refuses other JSON", async () => {
    await expect(readTokenSequences(join(import.meta.dirname, "..", "..", "package.json"))).rejects.toThrow('"calibration"');
    await expect(readTokenSequences(join(import.meta.dirname, "questions.ts"))).rejects.toThrow("is not JSON");
  });
});
