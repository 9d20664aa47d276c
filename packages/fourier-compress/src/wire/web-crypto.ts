import { SettingsError } from "../errors.ts";

/** WebCrypto, which browsers give to secure pages alone. @throws SettingsError elsewhere */
export function webCrypto(): SubtleCrypto {
  // Typed as if it were always there.
  const { subtle } = crypto as { readonly subtle?: SubtleCrypto };
  if (subtle !== undefined) return subtle;
  throw new SettingsError("this page has no WebCrypto: open it over https, or from localhost");
}

/** SHA-256 of parts one after another. @throws SettingsError where there is no WebCrypto */
export async function sha256(...parts: readonly Uint8Array[]): Promise<Uint8Array> {
  const joined = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return new Uint8Array(await webCrypto().digest("SHA-256", joined));
}
