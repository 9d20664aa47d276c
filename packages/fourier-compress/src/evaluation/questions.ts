import { nodeModule } from "@frugal/tensor-core/node";
import type { Tokenizer } from "@frugal/language-model";
import { z } from "zod";
import { EvaluationDataError } from "../errors.ts";
import { readBoundedText } from "./token-sequences.ts";

/** A multiple-choice question. */
export interface Question {
  readonly id: string;
  /** Text to read before the question. */
  readonly context?: string | undefined;
  readonly question: string;
  readonly choices: readonly string[];
  /** Index of the right choice. */
  readonly answer: number;
}

/** Questions of one file. */
export interface QuestionSet {
  readonly name: string;
  readonly questions: readonly Question[];
}

const LIMITS = { bytes: 256 * 2 ** 20, questions: 1_000_000, text: 100_000, choices: 64 } as const;

const text = z.string().min(1).max(LIMITS.text);
const questionSchema = z
  .object({
    id: z.string().max(1000).optional(),
    context: z.string().max(LIMITS.text).optional(),
    question: text,
    choices: z.array(text).min(2).max(LIMITS.choices),
    answer: z.int().min(0),
  })
  .refine(({ choices, answer }) => answer < choices.length, { message: "answer is not the index of a choice", path: ["answer"] });

/**
 * Questions in JSONL, one `{ "question", "choices": [string], "answer": index }` a line, `"id"` and `"context"` optional, empty lines left
 * out.
 * @param name for error messages
 * @throws EvaluationDataError naming the line
 */
export function parseQuestions(jsonl: string, name: string): Question[] {
  const questions: Question[] = [];
  for (const [index, line] of jsonl.split("\n").entries()) {
    if (line.trim() === "") continue;
    if (questions.length >= LIMITS.questions) throw new EvaluationDataError(`${name}: more than ${LIMITS.questions} questions`);
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new EvaluationDataError(`${name}:${index + 1} is not JSON: ${(cause as Error).message}`, { cause });
    }
    const question = questionSchema.safeParse(value);
    if (!question.success) {
      throw new EvaluationDataError(`${name}:${index + 1}: ${z.prettifyError(question.error).replaceAll("\n", " ")}`);
    }
    questions.push({ ...question.data, id: question.data.id ?? `${name}-${index}` });
  }
  if (questions.length === 0) {
    throw new EvaluationDataError(`${name} has no questions; give one { "question", "choices", "answer" } a line`);
  }
  return questions;
}

/** Reads a file of `parseQuestions`; the set is named after it. @throws EvaluationDataError */
export async function readQuestions(path: string): Promise<QuestionSet> {
  const { basename } = nodeModule("node:path");
  const name = basename(path).replace(/\.jsonl?$/, "");
  return { name, questions: parseQuestions(await readBoundedText(path, LIMITS.bytes), basename(path)) };
}

/** What a model is asked, without an answer: "Question: …\nAnswer:". */
export function questionPrompt({ context, question }: Question): string {
  return `${context ? `${context.trim()}\n` : ""}Question: ${question.trim()}\nAnswer:`;
}

/** A choice as the continuation of its question. */
export interface ChoiceSequence {
  /** The whole of it, begin token first. */
  readonly ids: readonly number[];
  /** Index of the first token that belongs to the choice. */
  readonly from: number;
}

/**
 * Each choice after the question, as token ids. Question and choice are encoded together, because tokens may span the seam; the choice
 * begins where the ids part from those of the question alone.
 */
export function choiceSequences(question: Question, tokenizer: Tokenizer): ChoiceSequence[] {
  const prompt = questionPrompt(question);
  const promptIds = tokenizer.encode(prompt);
  return question.choices.map((choice) => {
    const ids = tokenizer.encode(`${prompt} ${choice.trim()}`);
    let from = 0;
    while (from < promptIds.length && from < ids.length - 1 && ids[from] === promptIds[from]) from++;
    // Something has to come before what is scored.
    return { ids, from: Math.max(1, from) };
  });
}
