import { createHash } from "node:crypto";
import { afterEach, expect, it, vi } from "vitest";
import type { ModelConfiguration } from "../weights/model-configuration.ts";
import { modelFingerprint } from "./model-fingerprint.ts";
import { tinyConfiguration } from "./random-weights.testing.ts";

afterEach(() => vi.unstubAllGlobals());

it("is the SHA-256 of the configuration with sorted keys", async () => {
  const ropeScaling = { type: "factors", factors: [1, 2, 4, 8] } as const;
  const json =
    '{"architecture":"llama","attentionBias":false,"attentionOutputBias":false,"bosTokenId":1,"eosTokenIds":[2],"headDim":8,' +
    '"hiddenAct":"silu","hiddenSize":32,"intermediateSize":48,"maxPositionEmbeddings":64,"numAttentionHeads":6,"numHiddenLayers":3,' +
    '"numKeyValueHeads":2,"rmsNormEps":0.00001,"ropeLayout":"half","ropeScaling":{"factors":[1,2,4,8],"type":"factors"},' +
    '"ropeTheta":10000,"tieWordEmbeddings":false,"vocabularySize":37}';
  expect(await modelFingerprint(tinyConfiguration({ ropeScaling }))).toBe(createHash("sha256").update(json).digest("hex"));
});

it("does not depend on the order of keys or on what is undefined, and on all else", async () => {
  const config = tinyConfiguration();
  const reversed = Object.fromEntries(Object.entries(config).reverse()) as unknown as ModelConfiguration;
  expect(Object.keys(reversed)).not.toEqual(Object.keys(config));
  const fingerprint = await modelFingerprint(config);
  expect(await modelFingerprint(reversed)).toBe(fingerprint);
  expect(await modelFingerprint({ ...config, ropeScaling: undefined } as unknown as ModelConfiguration)).toBe(fingerprint);
  const changes: Partial<ModelConfiguration>[] = [
    { ropeTheta: 10001 }, { eosTokenIds: [2, 3] }, { ropeLayout: "interleaved" }, { hiddenSize: 64 },
  ];
  const others = await Promise.all(changes.map((change) => modelFingerprint({ ...config, ...change })));
  expect(new Set([fingerprint, ...others]).size).toBe(5);
});

it("says when a page has no SHA-256", async () => {
  vi.stubGlobal("crypto", {});
  await expect(modelFingerprint(tinyConfiguration())).rejects.toThrow("serve the page by https");
});
