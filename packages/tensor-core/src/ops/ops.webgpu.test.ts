import "../index.ts";
import { openLaneDevice } from "../testing/open-webgpu.ts";
import { opSuite } from "../testing/op-suite.ts";

await openLaneDevice();
opSuite("webgpu");
