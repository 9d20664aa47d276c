import "../index.ts";
import "../reference.ts";
import { openLaneDevice } from "../testing/open-webgpu.ts";
import { errorsSuite } from "../testing/op-suite-errors.ts";
import { scopesSuite } from "../testing/op-suite-scopes.ts";

await openLaneDevice();
scopesSuite("webgpu");
errorsSuite("webgpu");
