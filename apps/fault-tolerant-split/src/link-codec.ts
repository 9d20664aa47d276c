/**
 * The module that the job names as its codec; every worker loads it. Hidden states go forward through fourier-compress's per-channel codec,
 * whose table was calibrated on this very model; gradients go back through its Hadamard codec, which needs no table and holds to a relative
 * error, since they shrink as the model learns.
 */
import { createCodec, readCodecTable, stepAtRatio } from "@frugal/fourier-compress";
import { rawActivationCodec, type ActivationCodec } from "@frugal/language-model";
import { readLinkSettings, type LinkSettings } from "./link-settings.ts";
import { TrafficCounter, type LinkTraffic } from "./link-traffic.ts";

async function createCodecs(
  { table: path, activationRatio, gradientError }: LinkSettings,
): Promise<Record<keyof LinkTraffic, ActivationCodec>> {
  if (path === undefined) return { activation: rawActivationCodec("float32"), gradient: rawActivationCodec("float32") };
  const table = await readCodecTable(path);
  return {
    activation: createCodec("channel", { table, mode: stepAtRatio(table, "channel", activationRatio) }),
    gradient: createCodec("hadamard", { mode: { kind: "relativeError", relativeError: gradientError } }),
  };
}

/** Makes the codec of a worker's links. */
export default async function createLinkCodec(): Promise<ActivationCodec> {
  const settings = await readLinkSettings();
  const codecs = await createCodecs(settings);
  const counter = new TrafficCounter(settings.traffic);
  return {
    name: `${codecs.activation.name} forward, ${codecs.gradient.name} back`,
    async encode(hidden, context) {
      const bytes = await codecs[context.kind].encode(hidden, context);
      counter.count(context.kind, bytes.byteLength, 4 * hidden.size);
      return bytes;
    },
    decode: (bytes, context, device) => codecs[context.kind].decode(bytes, context, device),
  };
}
