import "../index.ts";
import { openPageDevice } from "../testing/open-page-webgpu.ts";
import { opSuite } from "../testing/op-suite.ts";

await openPageDevice();
opSuite("webgpu");
