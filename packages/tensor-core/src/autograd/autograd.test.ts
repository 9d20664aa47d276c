import "../index.ts";
import "../reference.ts";
import { autogradSuite } from "../testing/op-suite-autograd.ts";
import { replayedGradientsSuite } from "../testing/op-suite-replayed-gradients.ts";

for (const device of ["reference", "cpu"] as const) {
  autogradSuite(device);
  replayedGradientsSuite(device);
}
