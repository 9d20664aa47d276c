import "../index.ts";
import "../reference.ts";
import { autogradSuite } from "../testing/op-suite-autograd.ts";

for (const device of ["reference", "cpu"] as const) autogradSuite(device);
