import { SettingsError } from "../errors.ts";

/** WebCrypto, which browsers give to secure pages alone. @throws SettingsError elsewhere */
export function webCrypto(): SubtleCrypto {
  // Typed as if it were always there.
  const { subtle } = crypto as { readonly subtle?: SubtleCrypto };
  if (subtle !== undefined) return subtle;
  throw new SettingsError("this page has no WebCrypto: open it over https, or from localhost");
}
