import type { Workload } from "../src/workload.ts";
import { codecs, parts } from "./codecs.ts";
import { transforms } from "./fourier.ts";
import { generations, sessions } from "./splitting.ts";

/** What `npm run bench -- fourier-compress` measures; each group has processes of its own. */
export const workloads: readonly (readonly Workload[])[] = [transforms, parts, codecs, generations, sessions];
