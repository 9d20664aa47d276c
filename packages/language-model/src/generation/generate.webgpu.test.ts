import { openLlama2cTokenizerFile } from "../tokenizer/llama2c-tokenizer.ts";
import { openLaneDevice } from "../webgpu-lane.testing.ts";
import { openLlama2cFile } from "../weights/llama2c.ts";
import { sharedData } from "../weights/shared-data.testing.ts";
import { openStories15m } from "../weights/stories15m.ts";
import { storiesOnWebGpu } from "./golden-stories.testing.ts";

const device = await openLaneDevice();
const [weights, vocabulary] = [sharedData("stories260K", "stories260K.bin"), sharedData("stories260K", "tok512.bin")];
const open260k = async () => ({ source: await openLlama2cFile(weights!), tokenizer: await openLlama2cTokenizerFile(vocabulary!) });

storiesOnWebGpu(device, {
  open260k: weights === undefined ? undefined : open260k,
  open15m: openStories15m,
  precisions: ["float32", "float16", "int8"],
});
