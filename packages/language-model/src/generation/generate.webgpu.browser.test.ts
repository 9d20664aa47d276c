import { webgpu } from "@frugal/tensor-core/webgpu";
import { afterAll } from "vitest";
import { fetchStories15m, fetchStories260k, hasStories260k } from "../weights/page-weights.testing.ts";
import { storiesOnWebGpu } from "./golden-stories.testing.ts";

const device = await webgpu();
afterAll(() => device.destroy());

storiesOnWebGpu(device, {
  open260k: hasStories260k() ? fetchStories260k : undefined,
  open15m: fetchStories15m,
  precisions: ["float32", "int8"],
});
