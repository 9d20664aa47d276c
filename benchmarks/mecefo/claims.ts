import type { Claim } from "../src/check.ts";
import { chaosClaims } from "./chaos-claims.ts";
import { costClaims } from "./cost-claims.ts";
import { dataOrderClaims, identityClaims } from "./identity-claims.ts";
import { methodClaims } from "./method-claims.ts";
import { perplexityClaims } from "./perplexity-gap-claims.ts";
import { simulatorClaims } from "./simulator-claims.ts";

/** What `npm run verify -- mecefo` checks. */
export const claims: readonly Claim[] = [
  ...identityClaims, ...methodClaims, ...dataOrderClaims, ...chaosClaims, ...perplexityClaims, ...costClaims, ...simulatorClaims,
];
