import "../index.ts";
import "../reference.ts";
import { trainingSuite } from "../testing/op-suite-training.ts";

for (const device of ["reference", "cpu"] as const) trainingSuite(device);
