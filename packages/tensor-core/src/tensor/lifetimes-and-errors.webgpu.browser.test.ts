import "../index.ts";
import "../reference.ts";
import { openPageDevice } from "../testing/open-page-webgpu.ts";
import { errorsSuite } from "../testing/op-suite-errors.ts";
import { scopesSuite } from "../testing/op-suite-scopes.ts";

await openPageDevice();
scopesSuite("webgpu");
errorsSuite("webgpu");
