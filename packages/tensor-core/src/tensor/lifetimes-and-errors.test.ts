import "../index.ts";
import "../reference.ts";
import { errorsSuite } from "../testing/op-suite-errors.ts";
import { scopesSuite } from "../testing/op-suite-scopes.ts";

for (const device of ["reference", "cpu"] as const) {
  scopesSuite(device);
  errorsSuite(device);
}
