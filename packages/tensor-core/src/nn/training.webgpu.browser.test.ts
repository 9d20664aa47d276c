import "../index.ts";
import "../reference.ts";
import { openPageDevice } from "../testing/open-page-webgpu.ts";
import { modulesSuite } from "../testing/op-suite-modules.ts";
import { optimizersSuite } from "../testing/op-suite-optimizers.ts";
import { randomSuite } from "../testing/op-suite-random.ts";

await openPageDevice();
modulesSuite("webgpu");
optimizersSuite("webgpu");
randomSuite("webgpu");
