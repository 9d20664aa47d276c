import "../index.ts";
import "../reference.ts";
import { openPageDevice } from "../testing/open-page-webgpu.ts";
import { autogradSuite } from "../testing/op-suite-autograd.ts";
import { gradientSuite } from "../testing/op-suite-gradients.ts";
import { replayedGradientsSuite } from "../testing/op-suite-replayed-gradients.ts";

await openPageDevice();
autogradSuite("webgpu");
gradientSuite("webgpu");
replayedGradientsSuite("webgpu");
