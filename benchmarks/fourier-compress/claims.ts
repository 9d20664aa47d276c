import { setThreads } from "@frugal/tensor-core";
import { measureRatio, type Claim } from "../src/check.ts";
import { errorClaims } from "./error-claims.ts";
import { transforms } from "./fourier.ts";
import { perplexityClaims } from "./perplexity-claims.ts";
import { loadClaims, splitClaims } from "./split-claims.ts";

const [oneThread, twoThreads] = transforms;

/** What `npm run verify -- fourier-compress` checks. */
export const claims: readonly Claim[] = [
  ...errorClaims,
  ...perplexityClaims,
  ...splitClaims,
  {
    id: "rfft2-128x2048-vs-best-js",
    unit: "ratio",
    target: 3,
    better: "larger",
    speed: true,
    measure: async (effort) => {
      // This process steps aside: no thread of its own may spin while others are timed.
      setThreads(1);
      // As users get them: ours on two threads, while no other library has more than one. One thread of ours beside it.
      const both = await measureRatio(twoThreads, effort);
      const single = await measureRatio(oneThread, effort);
      const note = `two threads, which no other has: ${both.note}; one thread: ${single.value.toFixed(2)}, ${single.note}`;
      return { value: both.value, note };
    },
  },
  ...loadClaims,
];
