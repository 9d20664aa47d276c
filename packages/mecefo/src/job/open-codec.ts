import { rawActivationCodec, type ActivationCodec } from "@frugal/language-model";
import { SettingsError } from "../errors.ts";
import { openModule } from "./open-module.ts";

/** Names of codecs that need no module. */
export const plainCodecs = ["float32", "float16"] as const;

function isActivationCodec(value: unknown): value is ActivationCodec {
  if (typeof value !== "object" || value === null) return false;
  const { name, encode, decode } = value as Partial<ActivationCodec>;
  return typeof name === "string" && name !== "" && typeof encode === "function" && typeof decode === "function";
}

/**
 * The codec of a job's pipeline links: "float32", "float16", or the path of a module whose default export is an `ActivationCodec`, or a
 * function (asynchronous or not) that gives one.
 * @throws SettingsError for a module that gives none, or one whose messages depend on earlier ones: a step that is begun again sends some
 * twice
 */
export async function openCodec(codec: string): Promise<ActivationCodec> {
  if (codec === "float32" || codec === "float16") return rawActivationCodec(codec);
  const exported = await openModule("codec", codec);
  let made: unknown = exported;
  if (typeof exported === "function") {
    try {
      made = await (exported as () => unknown)();
    } catch (cause) {
      const detail = cause instanceof Error ? cause.message : String(cause);
      throw new SettingsError(`codec: the default export of ${codec} failed: ${detail}`, { cause });
    }
  }
  if (!isActivationCodec(made)) {
    const expected = "ActivationCodec (name, encode, decode), nor a function that gives one";
    throw new SettingsError(`codec: the default export of ${codec} is no ${expected}`);
  }
  if (made.stateful === true) {
    throw new SettingsError(`codec: ${made.name} is stateful, but messages of pipeline links are repeated when a step is begun again`);
  }
  return made;
}
