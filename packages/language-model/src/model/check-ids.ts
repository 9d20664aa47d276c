import { LanguageModelError } from "../errors.ts";

/** @throws LanguageModelError naming the first id that a model has no vector for */
export function checkIds(model: { readonly vocabularySize: number }, ids: Iterable<number>): void {
  for (const id of ids) {
    if (Number.isInteger(id) && id >= 0 && id < model.vocabularySize) continue;
    const fix = "do tokenizer and model belong together?";
    throw new LanguageModelError(`token id ${id} is not in the vocabulary of ${model.vocabularySize}; ${fix}`);
  }
}
