import "../index.ts";
import "../reference.ts";
import { memorySuite } from "../testing/op-suite-memory.ts";

for (const device of ["reference", "cpu"] as const) memorySuite(device);
