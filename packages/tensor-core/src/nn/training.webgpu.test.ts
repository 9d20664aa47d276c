import "../index.ts";
import "../reference.ts";
import { openLaneDevice } from "../testing/open-webgpu.ts";
import { modulesSuite } from "../testing/op-suite-modules.ts";
import { optimizersSuite } from "../testing/op-suite-optimizers.ts";
import { randomSuite } from "../testing/op-suite-random.ts";

await openLaneDevice();
modulesSuite("webgpu");
optimizersSuite("webgpu");
randomSuite("webgpu");
