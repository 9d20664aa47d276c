import "../index.ts";
import "../reference.ts";
import { modulesSuite } from "../testing/op-suite-modules.ts";
import { optimizersSuite } from "../testing/op-suite-optimizers.ts";
import { randomSuite } from "../testing/op-suite-random.ts";

for (const device of ["reference", "cpu"] as const) {
  modulesSuite(device);
  optimizersSuite(device);
  randomSuite(device);
}
