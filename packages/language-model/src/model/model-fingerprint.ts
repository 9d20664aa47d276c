import { LanguageModelError } from "../errors.ts";
import type { ModelConfiguration } from "../weights/model-configuration.ts";

/** JSON without spaces, with the keys of every object in the order of their code units. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => {
    if (typeof item !== "object" || item === null || Array.isArray(item)) return item;
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/**
 * SHA-256 in hexadecimal of a configuration's canonical JSON (keys sorted, nothing for what is undefined), for two parts of a model to
 * check that they belong together before they exchange activations. It says nothing of the weights; and the same model read from another
 * format may have another one, where the rotary layout or a rounded constant differs.
 * @throws LanguageModelError in a page that is no secure context (https or localhost), which has no SHA-256
 */
export async function modelFingerprint(config: ModelConfiguration): Promise<string> {
  const subtle = (globalThis.crypto as Crypto | undefined)?.subtle as SubtleCrypto | undefined;
  if (subtle === undefined) throw new LanguageModelError("modelFingerprint: there is no crypto.subtle here; serve the page by https");
  const digest = await subtle.digest("SHA-256", new TextEncoder().encode(canonicalJson(config)));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
