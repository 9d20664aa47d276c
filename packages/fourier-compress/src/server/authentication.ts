/** Which credentials a server takes. */
export interface Authentication {
  /** Bearer tokens by principal. */
  readonly bearerTokens?: { readonly [principal: string]: string };
  /** Secrets for HMAC by principal. */
  readonly secrets?: { readonly [principal: string]: string };
}
